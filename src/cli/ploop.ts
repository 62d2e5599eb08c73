// SPDX-License-Identifier: Apache-2.0
// The `ploop` program: its table of commands, one file each in ploop/.
import type { Program } from './command.js';
import { runProgram } from './program.js';

export const ploopProgram: Program = {
  name: 'ploop',
  summary: 'thin, snapshottable disk images for containers',
  description:
    'Keeps disk images in plain files, as thin layers on top of each other, and turns them into block devices and mounted file systems. ' +
    'An image is a directory. Sizes are written as 10G, 512M, 64K or in bytes; snapshots are named by id, unique id prefix or name.',
  commands: [],
};

export async function run(): Promise<void> {
  await runProgram(ploopProgram);
}
