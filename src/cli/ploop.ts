// SPDX-License-Identifier: Apache-2.0
// The `ploop` program: its table of commands, one file each in ploop/.
import type { Program } from './command.js';
import { attachCommand } from './ploop/attach.js';
import { checkCommand } from './ploop/check.js';
import { cloneCommand, newIdCommand } from './ploop/clone.js';
import { compactCommand } from './ploop/compact.js';
import { copyCommand } from './ploop/copy.js';
import { compactdCommand } from './ploop/compactd.js';
import { createCommand } from './ploop/create.js';
import { detachCommand } from './ploop/detach.js';
import { diffCommand } from './ploop/diff.js';
import { exportCommand } from './ploop/export.js';
import { exportsCommand } from './ploop/exports.js';
import { infoCommand } from './ploop/info.js';
import { jobsCommand } from './ploop/jobs.js';
import { listCommand } from './ploop/list.js';
import { mapCommand } from './ploop/map.js';
import { mountCommand } from './ploop/mount.js';
import { receiveCommand } from './ploop/receive.js';
import { recoverCommand } from './ploop/recover.js';
import { resizeCommand } from './ploop/resize.js';
import { sendCommand } from './ploop/send.js';
import { setCommand } from './ploop/set.js';
import { snapshotCommand } from './ploop/snapshot.js';
import { snapshotDeleteCommand } from './ploop/snapshot-delete.js';
import { snapshotListCommand } from './ploop/snapshot-list.js';
import { snapshotSwitchCommand } from './ploop/snapshot-switch.js';
import { statCommand } from './ploop/stat.js';
import { umountCommand } from './ploop/umount.js';
import { unexportCommand } from './ploop/unexport.js';
import { upgradeCommand } from './ploop/upgrade.js';
import { runProgram } from './program.js';

export const ploopProgram: Program = {
  name: 'ploop',
  summary: 'thin, snapshottable disk images for containers',
  description:
    'Keeps disk images in plain files, as thin layers on top of each other, and turns them into block devices and mounted file systems. ' +
    'An image is a directory. Sizes are written as 10G, 512M, 64K or in bytes; snapshots are named by id, unique id prefix or name.',
  commands: [
    createCommand,
    infoCommand,
    statCommand,
    listCommand,
    mountCommand,
    umountCommand,
    attachCommand,
    detachCommand,
    exportCommand,
    exportsCommand,
    unexportCommand,
    setCommand,
    recoverCommand,
    upgradeCommand,
    snapshotCommand,
    snapshotListCommand,
    snapshotSwitchCommand,
    snapshotDeleteCommand,
    cloneCommand,
    newIdCommand,
    jobsCommand,
    resizeCommand,
    compactCommand,
    compactdCommand,
    checkCommand,
    mapCommand,
    diffCommand,
    sendCommand,
    receiveCommand,
    copyCommand,
  ],
};

export async function run(): Promise<void> {
  await runProgram(ploopProgram);
}
