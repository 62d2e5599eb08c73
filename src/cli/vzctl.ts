// SPDX-License-Identifier: Apache-2.0
// The `vzctl` program: its table of commands, one file each in vzctl/.
import type { Program } from './command.js';
import { runProgram } from './program.js';

export const vzctlProgram: Program = {
  name: 'vzctl',
  summary: 'control containers that live in ploop images',
  description:
    'Creates, starts, stops and snapshots containers; each has a disk image of its own and is run by an OCI runtime (runc or crun).',
  commands: [],
};

export async function run(): Promise<void> {
  await runProgram(vzctlProgram);
}
