/* SPDX-License-Identifier: Apache-2.0 */
/* See trim.h. */
#include "ploopd/keeper/trim.h"

#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

static int forget(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at, end;

	(void)size, (void)arg;
	if (!info->dlpi_name || !strstr(info->dlpi_name, "/libc.so."))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD || ph->p_flags & PF_W)
			continue;
		at = (info->dlpi_addr + ph->p_vaddr) & ~(page - 1);
		end = info->dlpi_addr + ph->p_vaddr + ph->p_memsz;
		/* Older kernels refuse: then it stays. */
		madvise((void *)at, end - at, MADV_DONTNEED_LOCKED);
	}
	return 1;
}

void pl_trim_libc(void)
{
	dl_iterate_phdr(forget, NULL);
}
