// SPDX-License-Identifier: Apache-2.0
// `ploop map`: which layer decides the content of which part of the disk.
import { resolve } from 'node:path';

import { mapExtents } from '../../attach/operations.js';
import { PloopError } from '../../errors.js';
import type { NativeExtent } from '../../native/index.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, text, word } from './image-argument.js';

export const mapCommand: Command = {
  name: 'map',
  summary: 'show which layer owns what',
  description:
    'One line per extent: its place on the virtual disk, the layer that owns it ("-": none, reads as zeros) and the place in that ' +
    'layer\'s file ("zeros": owned without host space). All in bytes.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--offset <bytes>', summary: 'start here', parse: parseOffset },
    { flags: '--length <size>', summary: 'show this much', parse: (given) => parseSize(given, '--length') },
    { flags: '--snapshot <id>', summary: 'of this snapshot instead of the present state' },
  ],
  examples: [['ploop map /vz/web --length 1G', 'the first GiB of the disk']],
  run: map,
};

function parseOffset(given: string): number {
  if (/^0+$/.test(given)) return 0;
  const bytes = parseSize(given, '--offset');
  if (bytes % 512 !== 0) throw new PloopError('INVALID_ARGUMENT', `--offset: ${given} is not a multiple of 512`);
  return bytes;
}

const WIDTH = 16;

async function map(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const extents: NativeExtent[] = [];
  const found = mapExtents(dir, {
    offset: options['offset'] as number | undefined,
    length: options['length'] as number | undefined,
    snapshot: text(options['snapshot']),
    signal: ctx.signal,
    ...runDirOption(ctx),
  });
  if (!ctx.json)
    ctx.stdout.write(`${'OFFSET'.padStart(WIDTH)}  ${'LENGTH'.padStart(WIDTH)}  ${'LAYER'.padEnd(36)}  ${'HOST OFFSET'.padStart(WIDTH)}\n`);
  let ownedBytes = 0;
  for await (const extent of found) {
    if (extent.layer !== null) ownedBytes += extent.length;
    if (ctx.json) extents.push(extent);
    else ctx.stdout.write(`${line(extent)}\n`);
  }
  ctx.note(`${formatSize(ownedBytes)} owned`);
  ctx.result({ directory: resolve(dir), extents }, '');
}

function line(extent: NativeExtent): string {
  const host = extent.layer === null ? '-' : extent.hostOffset === null ? 'zeros' : String(extent.hostOffset);
  return `${String(extent.offset).padStart(WIDTH)}  ${String(extent.length).padStart(WIDTH)}  ${(extent.layer ?? '-').padEnd(36)}  ${host.padStart(WIDTH)}`;
}
