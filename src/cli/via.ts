// SPDX-License-Identifier: Apache-2.0
// How the device of an image is made, as commands take and show it.
import { VIA_CHOICES, type ViaChoice } from '../attach/via.js';
import type { Option, ParsedOptions } from './command.js';

export const VIA_OPTION: Option = {
  flags: '--via <way>',
  summary:
    "how the block device is made: fuse is a loop device on a FUSE file, nbd the kernel's NBD client (default: PLOOP_VIA, or auto, the host's best)",
  choices: [...VIA_CHOICES],
};

export function viaOf(options: ParsedOptions): { via: ViaChoice | undefined } {
  return { via: options['via'] as ViaChoice | undefined };
}
