/* SPDX-License-Identifier: Apache-2.0 */
/* ploopd export: an NBD export of an attachment (docs/nbd.md). */
#ifndef PLOOP_PLOOPD_OFFER_H
#define PLOOP_PLOOPD_OFFER_H

/* argv of "ploopd export". Prints the result; the exit status. */
int pl_offer_main(int argc, char **argv);

#endif
