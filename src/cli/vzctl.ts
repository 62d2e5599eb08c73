// SPDX-License-Identifier: Apache-2.0
// The `vzctl` program: its table of commands, which are in vzctl/ and loaded when they are asked for.
import type { CommandTable, Program } from './command.js';
import { loadCommands, runProgram } from './program.js';

const COMMANDS: CommandTable = {
  create: async () => (await import('./vzctl/create.js')).createCommand,
  start: async () => (await import('./vzctl/run.js')).startCommand,
  stop: async () => (await import('./vzctl/run.js')).stopCommand,
  restart: async () => (await import('./vzctl/run.js')).restartCommand,
  status: async () => (await import('./vzctl/run.js')).statusCommand,
  enter: async () => (await import('./vzctl/inside.js')).enterCommand,
  exec: async () => (await import('./vzctl/inside.js')).execCommand,
  mount: async () => (await import('./vzctl/mount.js')).mountCommand,
  umount: async () => (await import('./vzctl/mount.js')).umountCommand,
  snapshot: async () => (await import('./vzctl/snapshot.js')).snapshotCommand,
  'snapshot-list': async () => (await import('./vzctl/snapshot.js')).snapshotListCommand,
  'snapshot-switch': async () => (await import('./vzctl/snapshot.js')).snapshotSwitchCommand,
  'snapshot-delete': async () => (await import('./vzctl/snapshot.js')).snapshotDeleteCommand,
  compact: async () => (await import('./vzctl/mount.js')).compactCommand,
  set: async () => (await import('./vzctl/create.js')).setCommand,
  migrate: async () => (await import('./vzctl/migrate.js')).migrateCommand,
  incoming: async () => (await import('./vzctl/migrate.js')).incomingCommand,
  destroy: async () => (await import('./vzctl/create.js')).destroyCommand,
};

/** With all its commands, or with the one of that name alone. */
export async function loadVzctl(only?: string): Promise<Program> {
  return {
    name: 'vzctl',
    summary: 'control containers that live in ploop images',
    description:
      'Creates, starts, stops and snapshots containers; each has a disk image of its own and is run by an OCI runtime (runc or crun).',
    commands: await loadCommands(COMMANDS, only),
  };
}

export async function run(): Promise<void> {
  await runProgram(await loadVzctl(process.argv[2]));
}
