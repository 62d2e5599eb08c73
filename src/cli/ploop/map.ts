// SPDX-License-Identifier: Apache-2.0
// `ploop map`: which layer decides the content of which part of the disk.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';

import { mapExtents } from '../../attach/operations.js';
import { PloopError } from '../../errors.js';
import { imageCells } from '../../filesystem/space/cells.js';
import type { NativeExtent } from '../../native/index.js';
import { formatSize, parseSize } from '../../units.js';
import { legendText } from '../draw/colours.js';
import { COLUMNS, pngPicture, ROWS, svgPicture } from '../draw/picture.js';
import { terminalPicture } from '../draw/terminal.js';
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
    { flags: '--draw', summary: 'draw the whole disk in letters: used, reclaimable, shared with layers below, hole' },
    { flags: '--picture <file>', summary: 'write that as a picture: FILE.svg or FILE.png' },
    { flags: '--snapshot <id>', summary: 'of this snapshot instead of the present state' },
  ],
  examples: [
    ['ploop map /vz/web --length 1G', 'the first GiB of the disk'],
    ['ploop map /vz/web --draw', 'where the space is'],
  ],
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
  const picture = text(options['picture']);
  if (picture !== undefined || options['draw'] === true) return draw(ctx, dir, picture);
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

const DRAWN_LINES = 16;

async function draw(ctx: Context, dir: string, file: string | undefined): Promise<void> {
  const kind = file === undefined ? null : /\.(svg|png)$/.exec(file)?.[1];
  if (kind === undefined) throw new PloopError('INVALID_ARGUMENT', `--picture: ${file ?? ''} does not end in .svg or .png`);
  const terminal = ctx.stdout as NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  const columns = terminal.columns ?? 80;
  const count = file === undefined ? columns * DRAWN_LINES : COLUMNS * ROWS;
  const cells = await imageCells(dir, count, { ...runDirOption(ctx), signal: ctx.signal });
  const colour = terminal.isTTY === true && (ctx.env['NO_COLOR'] ?? '') === '';
  if (file !== undefined) await writePicture(file, kind === 'png' ? pngPicture(cells) : svgPicture(cells));
  const drawn = file === undefined ? terminalPicture(cells, { columns, colour }) : `${file}: ${legendText(cells)}`;
  ctx.result({ directory: resolve(dir), picture: file === undefined ? null : resolve(file), ...cells }, drawn);
}

async function writePicture(file: string, picture: string | Buffer): Promise<void> {
  await writeFile(file, picture).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && error.code !== 'EISDIR') throw error;
    const why = error.code === 'EISDIR' ? 'is a directory' : 'its directory does not exist';
    throw new PloopError('INVALID_ARGUMENT', `--picture: ${file}: ${why}`, { cause: error });
  });
}

function line(extent: NativeExtent): string {
  const host = extent.layer === null ? '-' : extent.hostOffset === null ? 'zeros' : String(extent.hostOffset);
  return `${String(extent.offset).padStart(WIDTH)}  ${String(extent.length).padStart(WIDTH)}  ${(extent.layer ?? '-').padEnd(36)}  ${host.padStart(WIDTH)}`;
}
