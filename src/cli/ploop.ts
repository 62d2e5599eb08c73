// SPDX-License-Identifier: Apache-2.0
// The `ploop` program: its table of commands, one file each in ploop/, which are loaded when they are asked for.
import type { CommandTable, Program } from './command.js';
import { loadCommands, runProgram } from './program.js';

const COMMANDS: CommandTable = {
  create: async () => (await import('./ploop/create.js')).createCommand,
  info: async () => (await import('./ploop/info.js')).infoCommand,
  stat: async () => (await import('./ploop/stat.js')).statCommand,
  list: async () => (await import('./ploop/list.js')).listCommand,
  mount: async () => (await import('./ploop/mount.js')).mountCommand,
  umount: async () => (await import('./ploop/umount.js')).umountCommand,
  attach: async () => (await import('./ploop/attach.js')).attachCommand,
  detach: async () => (await import('./ploop/detach.js')).detachCommand,
  export: async () => (await import('./ploop/export.js')).exportCommand,
  exports: async () => (await import('./ploop/exports.js')).exportsCommand,
  unexport: async () => (await import('./ploop/unexport.js')).unexportCommand,
  set: async () => (await import('./ploop/set.js')).setCommand,
  recover: async () => (await import('./ploop/recover.js')).recoverCommand,
  upgrade: async () => (await import('./ploop/upgrade.js')).upgradeCommand,
  snapshot: async () => (await import('./ploop/snapshot.js')).snapshotCommand,
  'snapshot-list': async () => (await import('./ploop/snapshot-list.js')).snapshotListCommand,
  'snapshot-switch': async () => (await import('./ploop/snapshot-switch.js')).snapshotSwitchCommand,
  'snapshot-delete': async () => (await import('./ploop/snapshot-delete.js')).snapshotDeleteCommand,
  clone: async () => (await import('./ploop/clone.js')).cloneCommand,
  'new-id': async () => (await import('./ploop/clone.js')).newIdCommand,
  jobs: async () => (await import('./ploop/jobs.js')).jobsCommand,
  resize: async () => (await import('./ploop/resize.js')).resizeCommand,
  compact: async () => (await import('./ploop/compact.js')).compactCommand,
  compactd: async () => (await import('./ploop/compactd.js')).compactdCommand,
  check: async () => (await import('./ploop/check.js')).checkCommand,
  map: async () => (await import('./ploop/map.js')).mapCommand,
  diff: async () => (await import('./ploop/diff.js')).diffCommand,
  send: async () => (await import('./ploop/send.js')).sendCommand,
  receive: async () => (await import('./ploop/receive.js')).receiveCommand,
  copy: async () => (await import('./ploop/copy.js')).copyCommand,
};

/** With all its commands, or with the one of that name alone. */
export async function loadPloop(only?: string): Promise<Program> {
  return {
    name: 'ploop',
    summary: 'thin, snapshottable disk images for containers',
    description:
      'Keeps disk images in plain files, as thin layers on top of each other, and turns them into block devices and mounted file systems. ' +
      'An image is a directory. Sizes are written as 10G, 512M, 64K or in bytes; snapshots are named by id, unique id prefix or name.',
    commands: await loadCommands(COMMANDS, only),
  };
}

export async function run(): Promise<void> {
  await runProgram(await loadPloop(process.argv[2]));
}
