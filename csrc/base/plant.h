/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planted ordering mistakes, so that the crash explorer can show that it finds
 * them. Only the library that its own test links is built with PL_PLANTS; in
 * every other one pl_plant() is the constant false.
 */
#ifndef PLOOP_BASE_PLANT_H
#define PLOOP_BASE_PLANT_H

#define PL_PLANT_RECORD_BEFORE_DATA 1u /* ownership durable before the data */
#define PL_PLANT_EARLY_REUSE 2u /* a freed cluster at once, not when durable */
#define PL_PLANT_UNSYNCED_LAYER 4u /* descriptor renamed before layer syncs */

#ifdef PL_PLANTS
extern unsigned pl_planted;
#define pl_plant(which) ((pl_planted & (which)) != 0)
#else
#define pl_plant(which) 0
#endif

#endif
