/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "pack.h"

int pack_move(struct pack *p)
{
	(void)p;
	return -ENOSYS;
}
