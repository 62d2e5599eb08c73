// SPDX-License-Identifier: Apache-2.0
// `ploop resize`: a larger disk, and a larger file system on it.
import { resolve } from 'node:path';

import { resizeImage, type ResizedImage } from '../../filesystem/image/resize.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, word } from './image-argument.js';

export const resizeCommand: Command = {
  name: 'resize',
  aliases: ['grow'],
  summary: 'grow an image and its file system',
  description:
    'Makes the disk larger and its ext4 or xfs with it, mounted or not. A mounted ext4 grows only where the host grants ' +
    'CAP_SYS_RESOURCE; elsewhere unmount it first. Disks do not shrink. An interrupted resize is completed by the same command.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-s, --size <size>', summary: 'the new size: 20G, or bytes', required: true, parse: (given) => parseSize(given, '--size') },
  ],
  examples: [['ploop resize /vz/web --size 20G', 'from whatever less it has']],
  run: resize,
};

async function resize(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const done = await resizeImage(dir, { sizeBytes: options['size'] as number, signal: ctx.signal, ...runDirOption(ctx) });
  ctx.result({ directory: resolve(dir), ...done }, render(dir, done));
}

function render(dir: string, done: ResizedImage): string {
  const same = done.oldSizeBytes === done.sizeBytes;
  const sizes = same ? `${formatSize(done.sizeBytes)} already` : `${formatSize(done.oldSizeBytes)} → ${formatSize(done.sizeBytes)}`;
  const where = done.mountPoint === null ? '' : ` on ${done.mountPoint}`;
  return `${dir}: ${sizes}; ${done.grown === null ? 'no file system grown' : `its ${done.grown}${where} fills it`}`;
}
