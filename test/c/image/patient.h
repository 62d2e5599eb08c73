/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image that damage is done to: a sealed base with a snapshot and a top,
 * two map pages each, and what every block of both must read as.
 */
#ifndef PL_TEST_PATIENT_H
#define PL_TEST_PATIENT_H

#include "chain/chain.h"
#include "image/image.h"
#include "store/store.h"

#define PATIENT_SIZE ((96ull << 20) + 20480u)
#define PATIENT_BLOCKS (PATIENT_SIZE / 4096)

struct patient {
	struct pl_dir *dir;
	char base[PL_ID_LEN + 1], top[PL_ID_LEN + 1];
	char snapshot[PL_ID_LEN + 1];
	uint16_t base_value[PATIENT_BLOCKS], top_value[PATIENT_BLOCKS];
};

struct patient_how {
	bool unclean; /* the top was not closed, its journal has records */
	bool sums; /* the base has block checksums */
	bool empty_top;
};

/* False = see the line printed. */
bool patient_make(struct patient *p, struct pl_dir *dir,
		  struct patient_how how);

/*
 * Opens both disks and compares all blocks except [skip, skip + n); false
 * prints the first that differs.
 */
bool patient_reads(struct patient *p, struct pl_dir *dir, uint64_t skip,
		   uint64_t n);

/* Writes to the top, closes, reads back: it is a whole image again. */
bool patient_works(struct pl_dir *dir);

#endif
