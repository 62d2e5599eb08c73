// SPDX-License-Identifier: Apache-2.0
// `ploop resize`: another size for the disk and the file system on it.
import { resolve } from 'node:path';

import { resizeImage, type ResizedImage } from '../../filesystem/image/resize.js';
import type { ShrinkStep } from '../../filesystem/shrink.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, withProgress, word } from './image-argument.js';

export const resizeCommand: Command = {
  name: 'resize',
  aliases: ['grow', 'shrink'],
  summary: 'grow or shrink an image and its file system',
  description:
    'Makes the disk larger and its ext4 or xfs with it, mounted or not. A mounted ext4 grows only where the host grants ' +
    'CAP_SYS_RESOURCE; elsewhere unmount it first. A smaller size needs the image detached and an ext4 on it, which is checked and ' +
    'shrunk first; one that is too small is refused with the smallest possible one. xfs cannot shrink. Snapshots keep their size and ' +
    'content. An interrupted resize is completed by the same command.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-s, --size <size>', summary: 'the new size: 20G, or bytes', required: true, parse: (given) => parseSize(given, '--size') },
    { flags: '--cut', summary: 'shrink an image without a known file system, and lose what is beyond the new end' },
  ],
  examples: [
    ['ploop resize /vz/web --size 20G', 'from whatever other size it has'],
    ['ploop resize /vz/web --size 1', 'too small for any file system: says the smallest possible size'],
  ],
  run: resize,
};

const STEPS: Readonly<Record<ShrinkStep, string>> = {
  check: 'checking the file system',
  'file system': 'shrinking the file system',
  disk: 'shrinking the disk',
};

async function resize(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const done = await withProgress(ctx, 'merging', (onProgress) =>
    resizeImage(dir, {
      sizeBytes: options['size'] as number,
      cut: options['cut'] === true,
      onStep: (step) => ctx.note(STEPS[step]),
      onProgress,
      signal: ctx.signal,
      ...runDirOption(ctx),
    }),
  );
  ctx.result({ directory: resolve(dir), ...done }, render(dir, done));
}

function render(dir: string, done: ResizedImage): string {
  const same = done.oldSizeBytes === done.sizeBytes;
  const sizes = same ? `${formatSize(done.sizeBytes)} already` : `${formatSize(done.oldSizeBytes)} → ${formatSize(done.sizeBytes)}`;
  const where = done.mountPoint === null ? '' : ` on ${done.mountPoint}`;
  if (done.sizeBytes < done.oldSizeBytes)
    return `${dir}: ${sizes}; ${done.shrunk === null ? 'no file system in it' : `its ${done.shrunk} fits`}`;
  return `${dir}: ${sizes}; ${done.grown === null ? 'no file system grown' : `its ${done.grown}${where} fills it`}`;
}
