// SPDX-License-Identifier: Apache-2.0
// `ploop diff`: which blocks changed between two snapshots, or since one.
import { resolve } from 'node:path';

import { changedBlocks } from '../../attach/diff.js';
import type { NativeChangedExtent } from '../../native/index.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { renderFacts } from '../table.js';
import { IMAGE_ARGUMENT, runDirOption, text, withProgress, word } from './image-argument.js';

export const diffCommand: Command = {
  name: 'diff',
  summary: 'show which blocks changed between two snapshots',
  description:
    'Names every block that differs, from what the layers own: nothing is read but metadata, and no bitmap is kept. Blocks that were ' +
    'written with what they held, or changed and changed back, are named, too; --compare reads both states and leaves them out. The ' +
    'snapshots may be on different branches; without --to the later state is the present one, also while the image is in use.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--from <id>', summary: 'the earlier state: a snapshot', required: true },
    { flags: '--to <id>', summary: 'the later state: a snapshot instead of now' },
    { flags: '--extents', summary: 'one line per extent: offset and length in bytes, data or zero' },
    { flags: '--compare', summary: 'read both states and leave out blocks that hold the same' },
  ],
  examples: [
    ['ploop diff /vz/web --from monday', 'how much changed since then'],
    ['ploop diff /vz/web --from monday --to tuesday --extents', 'where'],
  ],
  run: diff,
};

const WIDTH = 16;

interface Totals {
  data: number;
  zero: number;
  count: number;
}

async function diff(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const lines = options['extents'] === true && !ctx.json;
  const extents: NativeChangedExtent[] = [];
  const totals: Totals = { data: 0, zero: 0, count: 0 };
  const found = await withProgress(ctx, 'comparing', async (onProgress) => {
    const changed = await changedBlocks(dir, {
      from: String(options['from']),
      to: text(options['to']),
      compare: options['compare'] === true,
      onProgress,
      signal: ctx.signal,
      ...runDirOption(ctx),
    });
    if (lines) ctx.stdout.write(`${'OFFSET'.padStart(WIDTH)}  ${'LENGTH'.padStart(WIDTH)}  KIND\n`);
    for await (const extent of joined(changed.extents)) {
      totals.count++;
      totals[extent.zero ? 'zero' : 'data'] += extent.length;
      if (ctx.json) extents.push(extent);
      else if (lines) ctx.stdout.write(`${line(extent)}\n`);
    }
    return changed;
  });
  const { from, to, sizeBytes } = found;
  const result = { directory: resolve(dir), from, to, sizeBytes, changedBytes: totals.data + totals.zero, extents };
  ctx.result({ ...result, dataBytes: totals.data, zeroBytes: totals.zero }, lines ? '' : summary(result, totals));
  if (lines) ctx.note(`${formatSize(totals.data + totals.zero)} changed of ${formatSize(sizeBytes)}`);
}

function summary(found: { from: string; to: string | null; sizeBytes: number; changedBytes: number }, totals: Totals): string {
  const percent = ((100 * found.changedBytes) / found.sizeBytes).toFixed(2);
  return renderFacts([
    ['from', found.from],
    ['to', found.to ?? 'now'],
    ['changed', `${formatSize(found.changedBytes)} of ${formatSize(found.sizeBytes)} (${percent} %)`],
    ['data', formatSize(totals.data)],
    ['zeros', formatSize(totals.zero)],
    ['extents', String(totals.count)],
  ]);
}

function line(extent: NativeChangedExtent): string {
  return `${String(extent.offset).padStart(WIDTH)}  ${String(extent.length).padStart(WIDTH)}  ${extent.zero ? 'zero' : 'data'}`;
}

/** Adjacent extents of one kind as one, wherever the pages were cut. */
async function* joined(extents: AsyncIterable<NativeChangedExtent>): AsyncGenerator<NativeChangedExtent> {
  let last: NativeChangedExtent | undefined;
  for await (const extent of extents) {
    if (last !== undefined && last.zero === extent.zero && last.offset + last.length === extent.offset) {
      last = { offset: last.offset, length: last.length + extent.length, zero: last.zero };
      continue;
    }
    if (last !== undefined) yield last;
    last = extent;
  }
  if (last !== undefined) yield last;
}
