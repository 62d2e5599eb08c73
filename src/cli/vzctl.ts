// SPDX-License-Identifier: Apache-2.0
// The `vzctl` program: its table of commands, one file each in vzctl/.
import type { Program } from './command.js';
import { runProgram } from './program.js';
import { createCommand, destroyCommand, setCommand } from './vzctl/create.js';
import { enterCommand, execCommand } from './vzctl/inside.js';
import { compactCommand, mountCommand, umountCommand } from './vzctl/mount.js';
import { restartCommand, startCommand, statusCommand, stopCommand } from './vzctl/run.js';
import { snapshotCommand, snapshotDeleteCommand, snapshotListCommand, snapshotSwitchCommand } from './vzctl/snapshot.js';

export const vzctlProgram: Program = {
  name: 'vzctl',
  summary: 'control containers that live in ploop images',
  description:
    'Creates, starts, stops and snapshots containers; each has a disk image of its own and is run by an OCI runtime (runc or crun).',
  commands: [
    createCommand,
    startCommand,
    stopCommand,
    restartCommand,
    statusCommand,
    enterCommand,
    execCommand,
    mountCommand,
    umountCommand,
    snapshotCommand,
    snapshotListCommand,
    snapshotSwitchCommand,
    snapshotDeleteCommand,
    compactCommand,
    setCommand,
    destroyCommand,
  ],
};

export async function run(): Promise<void> {
  await runProgram(vzctlProgram);
}
