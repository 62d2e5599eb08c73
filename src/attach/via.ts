// SPDX-License-Identifier: Apache-2.0
// How the block device of an attached image is made (docs/control.md, "Ways to make the device").
import { PloopError } from '../errors.js';

/** The ways there are; ploopd has the same list (csrc/ploopd/device/via.c). */
export const VIAS = ['fuse', 'nbd', 'ublk'] as const;
export type Via = (typeof VIAS)[number];

/** What may be asked for: `auto` leaves it to ploopd, which looks at what the host has. */
export type ViaChoice = 'auto' | Via;
export const VIA_CHOICES: readonly ViaChoice[] = ['auto', ...VIAS];

/** What was asked for; else the host's default, $PLOOP_VIA. */
export function chosenVia(given: ViaChoice | undefined): ViaChoice {
  const [value, origin] = given === undefined ? [process.env['PLOOP_VIA'] || 'auto', 'PLOOP_VIA'] : [given, 'via'];
  const known = VIA_CHOICES.find((choice) => choice === value);
  if (known !== undefined) return known;
  throw new PloopError('INVALID_ARGUMENT', `${origin}: '${value}' is not one of ${VIA_CHOICES.join(', ')}`);
}
