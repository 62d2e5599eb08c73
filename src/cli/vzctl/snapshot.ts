// SPDX-License-Identifier: Apache-2.0
// vzctl snapshot, snapshot-list, snapshot-switch, snapshot-delete.
import { deleteContainerSnapshot, listContainerSnapshots, snapshotContainer, switchContainerToSnapshot } from '../../container/snapshot.js';
import { locateContainer } from '../../container/place/locate.js';
import type { Snapshot } from '../../image/snapshots.js';
import { DISCARD_STATE_OPTION, switchedText } from '../ploop/image-argument.js';
import { parseDescription, parseName } from '../ploop/snapshot.js';
import { RATE_OPTION, renderDeleted } from '../ploop/snapshot-delete.js';
import type { Command, Option } from '../command.js';
import { table } from '../table.js';
import { CTID, ctidOf, rootsOf, textOf, VZ_ROOT } from './options.js';

const ID: Option = { flags: '--id <id>', summary: 'snapshot: id, unique beginning of one, or name', required: true };

export const snapshotCommand: Command = {
  name: 'snapshot',
  summary: "take a snapshot of a container's disk",
  description: 'A running container goes on running: its file system is frozen for the moment it takes.',
  arguments: [CTID],
  options: [
    { flags: '--name <name>', summary: 'name of the snapshot', parse: parseName },
    { flags: '--description <text>', summary: 'a line about it', parse: parseDescription },
    VZ_ROOT,
  ],
  examples: [['vzctl snapshot 101 --name before-upgrade', 'prints the id of the snapshot']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    const names = { name: textOf(options, 'name'), description: textOf(options, 'description') };
    const { times: _, ...taken } = await snapshotContainer(ctid, {
      ...rootsOf(options),
      ...names,
      onNote: (note) => ctx.note(note),
      signal: ctx.signal,
    });
    ctx.result({ ctid, ...taken }, `Snapshot ${taken.id} taken`);
  },
};

export const snapshotListCommand: Command = {
  name: 'snapshot-list',
  summary: 'list the snapshots of a container',
  description: 'The column C marks the snapshot that the present state of the disk builds on.',
  arguments: [CTID],
  options: [VZ_ROOT],
  examples: [['vzctl snapshot-list 101', 'parent, id, date and name of each']],
  async run(ctx, args, options) {
    const snapshots = await listContainerSnapshots(ctidOf(args), rootsOf(options));
    ctx.result(snapshots, snapshots.length === 0 ? 'There are no snapshots.' : snapshotTable(snapshots));
  },
};

function snapshotTable(snapshots: readonly Snapshot[]): string {
  const rows = snapshots.map(({ parent, current, id, created, name }) => [parent ?? '', current ? '*' : '', id, created, name ?? '']);
  return table([{ title: 'PARENT_ID' }, { title: 'C' }, { title: 'ID' }, { title: 'DATE' }, { title: 'NAME' }], rows);
}

export const snapshotSwitchCommand: Command = {
  name: 'snapshot-switch',
  summary: 'go back to a snapshot; the state before is kept as one',
  description:
    'The container must be stopped, or is stopped and started again with --restart. The kept snapshot is named after the time; none is made when one holds the same.',
  arguments: [CTID],
  options: [ID, DISCARD_STATE_OPTION, { flags: '--restart', summary: 'stop a running container before, and start it afterwards' }, VZ_ROOT],
  examples: [['vzctl snapshot-switch 101 --id before-upgrade', 'by name']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    const discard = options['discard'] === true;
    const snapshot = await switchContainerToSnapshot(ctid, options['id'] as string, {
      ...rootsOf(options),
      discard,
      restart: options['restart'] === true,
      signal: ctx.signal,
    });
    ctx.result({ ctid, ...snapshot }, `Container ${ctid} is back at snapshot ${snapshot.id}${switchedText(snapshot)}`);
  },
};

export const snapshotDeleteCommand: Command = {
  name: 'snapshot-delete',
  summary: 'delete a snapshot and free what only it held',
  description: 'Works while the container runs. Interrupting is safe: the same command goes on where it was.',
  arguments: [CTID],
  options: [ID, { flags: '-b, --background', summary: 'do not wait: a mounted disk merges by itself' }, RATE_OPTION, VZ_ROOT],
  examples: [['vzctl snapshot-delete 101 --id 7f3a', 'by the beginning of its id']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    const bar = ctx.progress('Merging');
    const onProgress = (done: number, total: number): void => bar.update(done, total);
    const background = options['background'] === true;
    const work = { ...rootsOf(options), background, rateBytes: options['rate'] as number | undefined, onProgress, signal: ctx.signal };
    const snapshot = await deleteContainerSnapshot(ctid, options['id'] as string, work).finally(() => bar.end());
    const { paths } = await locateContainer(ctid, rootsOf(options));
    ctx.result({ ctid, ...snapshot }, renderDeleted(snapshot, paths.imageDir));
  },
};
