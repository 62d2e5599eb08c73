/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of system calls: see syscalls.h. What is not on it kills.
 *
 * The worker parses what images and clients say, so its list is what serving
 * needs and no more: files beneath directories it holds, sockets that others
 * made, memory that is never executed. No process, no program, no mount, no
 * new socket, no signal to others. The keeper, which starts workers, parses
 * nothing; its list holds the worker's, because a child's filter can only be
 * narrower.
 *
 * io_uring makes its calls past every filter: base/loop.c restricts the ring
 * to the operations that we use.
 */
#include "ploopd/confine/syscalls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the list of system calls has to be looked through for this machine"
#endif

enum how {
	ALLOW,
	WITHOUT, /* none of the bits of `value` in argument `arg` */
	EQUAL, /* argument `arg` is `value` */
	IF_EQUAL, /* the same; if not, the next rule of this number decides */
	SELF, /* argument `arg` is this process */
	REFUSE, /* fails with errno `value`: callers live without it */
};

struct rule {
	int nr;
	enum how how;
	uint32_t arg, value;
};

#define CAN(name)                              \
	{                                      \
		.nr = SYS_##name, .how = ALLOW \
	}

static const struct rule worker_rules[] = {
	/* files and directories */
	CAN(read),
	CAN(write),
	CAN(pread64),
	CAN(pwrite64),
	CAN(readv),
	CAN(writev),
	CAN(preadv),
	CAN(pwritev),
	CAN(lseek),
	CAN(openat),
	CAN(openat2),
	CAN(close),
	CAN(fstat),
	CAN(newfstatat),
	CAN(statx),
	CAN(faccessat),
	CAN(getdents64),
	CAN(mkdirat),
	CAN(unlinkat),
	CAN(renameat),
	CAN(renameat2),
	CAN(ftruncate),
	CAN(fallocate),
	CAN(fsync),
	CAN(fdatasync),
	CAN(sync_file_range),
	CAN(fadvise64),
	CAN(flock),
	CAN(fcntl),
	CAN(dup),
	/* Merging shares extents of files, and punching wants to know them. */
	{ .nr = SYS_ioctl, .how = IF_EQUAL, .arg = 1, .value = FICLONERANGE },
	{ .nr = SYS_ioctl, .how = IF_EQUAL, .arg = 1, .value = FS_IOC_FIEMAP },
	/* Is it a terminal? asks stdio. */
	{ .nr = SYS_ioctl, .how = REFUSE, .value = ENOTTY },
#ifdef SYS_open
	CAN(open),
	CAN(stat),
	CAN(lstat),
	CAN(access),
	CAN(rename),
	CAN(unlink),
	CAN(mkdir),
	CAN(getdents),
#endif
	/* the event loop */
	CAN(io_uring_enter),
	CAN(io_uring_register),
#ifdef SYS_poll
	CAN(poll),
#endif
	CAN(ppoll),
	CAN(signalfd4),
	CAN(pipe2),
	/* sockets that were made before, and their clients */
	CAN(accept4),
	CAN(recvfrom),
	CAN(recvmsg),
	CAN(sendto),
	CAN(sendmsg),
	CAN(shutdown),
	CAN(getsockopt),
	CAN(setsockopt),
	CAN(getsockname),
	CAN(getpeername),
	/* memory, never to be executed */
	{ .nr = SYS_mmap, .how = WITHOUT, .arg = 2, .value = PROT_EXEC },
	{ .nr = SYS_mprotect, .how = WITHOUT, .arg = 2, .value = PROT_EXEC },
	CAN(munmap),
	CAN(mremap),
	CAN(madvise),
	CAN(brk),
	CAN(mlockall),
	CAN(mlock),
	CAN(mlock2),
	CAN(munlock),
	CAN(getrandom),
	/* time */
	CAN(clock_gettime),
	CAN(clock_nanosleep),
	CAN(nanosleep),
	CAN(gettimeofday),
#ifdef SYS_time
	CAN(time),
#endif
	/* signals to oneself, and the end */
	CAN(rt_sigaction),
	CAN(rt_sigprocmask),
	CAN(rt_sigreturn),
	CAN(sigaltstack),
	CAN(restart_syscall),
	{ .nr = SYS_tgkill, .how = SELF, .arg = 0 },
	CAN(futex),
	CAN(set_robust_list),
	CAN(rseq),
	CAN(sched_yield),
	CAN(getpid),
	CAN(gettid),
	CAN(getppid),
	CAN(getuid),
	CAN(geteuid),
	CAN(uname),
	CAN(sysinfo), /* qsort asks how large memory is */
	CAN(sched_getaffinity),
	CAN(getrusage),
	{ .nr = SYS_prlimit64, .how = REFUSE, .value = EPERM },
	CAN(exit),
	CAN(exit_group),
};

/* In a child for the worker, or to watch over it. These come first. */
static const struct rule keeper_rules[] = {
	{ .nr = SYS_clone,
	  .how = WITHOUT,
	  .arg = 0,
	  .value = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_PARENT |
		   CLONE_THREAD | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID |
		   CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
		   CLONE_NEWCGROUP },
	/* Its arguments are out of a filter's sight; clone is used then. */
	{ .nr = SYS_clone3, .how = REFUSE, .value = ENOSYS },
	CAN(waitid),
	CAN(wait4),
	CAN(kill),
	CAN(tgkill),
	CAN(pidfd_open),
	CAN(dup3),
#ifdef SYS_dup2
	CAN(dup2),
	CAN(rmdir),
#endif
	CAN(close_range),
	CAN(fchdir),
	CAN(chdir),
	/* Of what is shown with --no-loop; refused by the kernel otherwise. */
	{ .nr = SYS_umount2, .how = REFUSE, .value = EPERM },
	CAN(io_uring_setup),
	/* A worker has fewer capabilities than some keepers. */
	CAN(capget),
	CAN(capset),
	/* A new connection of the kernel's NBD client. */
	{ .nr = SYS_socketpair, .how = EQUAL, .arg = 0, .value = AF_UNIX },
	{ .nr = SYS_prctl, .how = EQUAL, .arg = 0, .value = PR_SET_NAME },
	{ .nr = SYS_seccomp,
	  .how = EQUAL,
	  .arg = 0,
	  .value = SECCOMP_SET_MODE_FILTER },
};

#define RULES(list) (sizeof(list) / sizeof((list)[0]))
#define PER_RULE 5
#define PROGRAM_MAX (6 + PER_RULE * (RULES(worker_rules) + RULES(keeper_rules)))

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short n;
};

static void emit(struct program *p, uint16_t code, uint8_t jt, uint8_t jf,
		 uint32_t k)
{
	p->code[p->n++] = (struct sock_filter){ code, jt, jf, k };
}

static void emit_load(struct program *p, size_t off)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)off);
}

static void emit_return(struct program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, 0, 0, action);
}

/* The number is in the accumulator, and still is when the rule is another's. */
static void emit_rule(struct program *p, const struct rule *r)
{
	const uint16_t eq = BPF_JMP | BPF_JEQ | BPF_K;
	uint32_t value = r->how == SELF ? (uint32_t)getpid() : r->value;
	size_t arg = offsetof(struct seccomp_data, args) + 8 * r->arg;

	if (r->how == ALLOW || r->how == REFUSE) {
		emit(p, eq, 0, 1, (uint32_t)r->nr);
		emit_return(p, r->how == ALLOW ? SECCOMP_RET_ALLOW :
						 SECCOMP_RET_ERRNO | value);
		return;
	}
	emit(p, eq, 0, 4, (uint32_t)r->nr);
	emit_load(p, arg); /* its lower half: both machines are little-endian */
	if (r->how == WITHOUT)
		emit(p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, value);
	else
		emit(p, eq, 0, 1, value);
	emit_return(p, SECCOMP_RET_ALLOW);
	if (r->how == IF_EQUAL)
		emit_load(p, offsetof(struct seccomp_data, nr));
	else
		emit_return(p, SECCOMP_RET_KILL_PROCESS);
}

static void emit_all(struct program *p, enum pl_syscalls whose)
{
	/* A 32-bit call has other numbers: not ours. */
	emit_load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
	emit_return(p, SECCOMP_RET_KILL_PROCESS);
	emit_load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0;
	     whose == PL_SYSCALLS_KEEPER && i < RULES(keeper_rules); i++)
		emit_rule(p, &keeper_rules[i]);
	for (size_t i = 0; i < RULES(worker_rules); i++)
		emit_rule(p, &worker_rules[i]);
	emit_return(p, SECCOMP_RET_KILL_PROCESS);
}

int pl_syscalls_limit(enum pl_syscalls whose)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog = { .filter = p.code };

	emit_all(&p, whose);
	prog.len = p.n;
	/* No foreign code runs in here that would look at our own memory: what
	 * older kernels do against that for every filtered process costs time. */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) < 0 ?
		       -errno :
		       0;
}
