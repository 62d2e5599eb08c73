// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-list`: the tree of snapshots.
import { resolve } from 'node:path';

import { listSnapshots, type Snapshot } from '../../image/snapshots.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { table } from '../table.js';
import { IMAGE_ARGUMENT, word } from './image-argument.js';

export const snapshotListCommand: Command = {
  name: 'snapshot-list',
  summary: 'list the snapshots of an image',
  description: 'The oldest first. The one marked with * is what the present state builds on.',
  arguments: [IMAGE_ARGUMENT],
  run: list,
};

async function list(ctx: Context, args: ParsedArguments): Promise<void> {
  const dir = word(args, 'dir');
  const snapshots = await listSnapshots(dir);
  ctx.result({ directory: resolve(dir), snapshots }, renderSnapshots(snapshots));
}

export function renderSnapshots(snapshots: readonly Snapshot[]): string {
  const titles = ['PARENT', 'C', 'ID', 'CREATED', 'NAME', 'DESCRIPTION'];
  const rows = snapshots.map((one) => [
    one.parent?.slice(0, 8) ?? '-',
    one.current ? '*' : '',
    one.id,
    one.created,
    one.name ?? '-',
    one.description ?? '',
  ]);
  return table(
    titles.map((title) => ({ title })),
    rows,
  );
}
