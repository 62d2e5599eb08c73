// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-list`: the tree of snapshots.
import { resolve } from 'node:path';

import { type ListedSnapshot, listSnapshots, type Snapshot } from '../../image/snapshots.js';
import { parseHolder } from '../../image/holder.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { onOneLine, table } from '../table.js';
import { IMAGE_ARGUMENT, word } from './image-argument.js';

export const snapshotListCommand: Command = {
  name: 'snapshot-list',
  summary: 'list the snapshots of an image',
  description:
    'The oldest first. The one marked with * is what the present state builds on. HOLDER: the process a temporary one is kept for; ' +
    'gone when that has ended: then the next command that works on the image deletes it.',
  arguments: [IMAGE_ARGUMENT],
  options: [{ flags: '--tree', summary: 'show what builds on what' }],
  run: list,
};

async function list(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const snapshots = await listSnapshots(dir);
  const render = options['tree'] === true ? renderTree : renderSnapshots;
  ctx.result({ directory: resolve(dir), snapshots }, render(snapshots));
}

export function renderSnapshots(snapshots: readonly ListedSnapshot[]): string {
  const held = snapshots.some((one) => one.holder !== null);
  const titles = ['PARENT', 'C', 'ID', 'CREATED', ...(held ? ['HOLDER'] : []), 'NAME', 'DESCRIPTION'];
  const rows = snapshots.map((one) => [
    one.parent?.slice(0, 8) ?? '-',
    one.current ? '*' : '',
    one.id,
    one.created,
    ...(held ? [holderText(one)] : []),
    one.name ?? '-',
    one.description ?? '',
  ]);
  return table(
    titles.map((title) => ({ title })),
    rows,
  );
}

/** "pid 12", "gone"; "-" for one that stays until it is deleted. */
function holderText({ holder, gone }: ListedSnapshot): string {
  if (holder === null) return '-';
  return gone ? 'gone' : `pid ${parseHolder(holder)?.pid ?? '?'}`;
}

/** Children below their parents, an only child in the same column; the present state is shown where it builds on. */
export function renderTree(snapshots: readonly Snapshot[]): string {
  const below = (parent: string | null, indent: string): string[] => {
    const children = snapshots.filter((one) => one.parent === parent);
    const present = parent === null ? snapshots.every((one) => !one.current) : snapshots.some((one) => one.id === parent && one.current);
    const all = present ? [...children, null] : children;
    return all.flatMap((child, at) => {
      const last = at === all.length - 1;
      const [mark, under] = all.length === 1 ? ['', ''] : last ? ['└─ ', '   '] : ['├─ ', '│  '];
      const own = `${indent}${mark}${child === null ? '(present state)' : treeLine(child)}`;
      return child === null ? [own] : [own, ...below(child.id, `${indent}${under}`)];
    });
  };
  return below(null, '').join('\n');
}

function treeLine({ id, created, name, holder }: Snapshot): string {
  return `${id.slice(0, 8)}  ${created}${name === null ? '' : `  ${onOneLine(name)}`}${holder === null ? '' : '  (temporary)'}`;
}
