// SPDX-License-Identifier: Apache-2.0
// `ploop resize`: another size for the disk and the file system on it.
import { resolve } from 'node:path';

import { PloopError } from '../../errors.js';
import { limitImage } from '../../filesystem/image/limit.js';
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
    'content. An interrupted resize is completed by the same command. --limit makes a mounted ext4 smaller for those who use it, at once: ' +
    'the kernel keeps the rest from them, from root, too. It lasts over mounts and in snapshots and clones until the disk gets another size.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-s, --size <size>', summary: 'the new size: 20G, or bytes', parse: (given) => parseSize(given, '--size') },
    {
      flags: '-l, --limit <size>',
      summary: 'instead: what a mounted ext4 may use of the disk, or `none`',
      parse: (given) => (given === 'none' ? given : parseSize(given, '--limit')),
    },
    { flags: '--cut', summary: 'shrink an image without a known file system, and lose what is beyond the new end' },
  ],
  examples: [
    ['ploop resize /vz/web --size 20G', 'from whatever other size it has'],
    ['ploop resize /vz/web --limit 8G', 'while it is mounted: its users find 8 GiB; any --size, or --limit none, ends it'],
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
  if ((options['size'] === undefined) === (options['limit'] === undefined)) {
    throw new PloopError('INVALID_ARGUMENT', 'resize: give either --size or --limit');
  }
  if (options['limit'] !== undefined) return limit(ctx, dir, options['limit'] as number | 'none');
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
  ctx.result({ directory: resolve(dir), ...done, limitBytes: null }, render(dir, done));
}

async function limit(ctx: Context, dir: string, given: number | 'none'): Promise<void> {
  const limitBytes = given === 'none' ? null : given;
  const { sizeBytes, oldLimitBytes, mountPoint } = await limitImage(dir, { limitBytes, ...runDirOption(ctx) });
  const size = (bytes: number | null): string => (bytes === null ? 'all' : formatSize(bytes));
  const text = `${dir}: its ext4 on ${mountPoint} may use ${size(limitBytes)} of ${formatSize(sizeBytes)}; before, ${size(oldLimitBytes)}`;
  ctx.result({ directory: resolve(dir), oldSizeBytes: sizeBytes, sizeBytes, grown: null, shrunk: null, limitBytes, mountPoint }, text);
}

function render(dir: string, done: ResizedImage): string {
  const same = done.oldSizeBytes === done.sizeBytes;
  const sizes = same ? `${formatSize(done.sizeBytes)} already` : `${formatSize(done.oldSizeBytes)} → ${formatSize(done.sizeBytes)}`;
  const where = done.mountPoint === null ? '' : ` on ${done.mountPoint}`;
  if (done.sizeBytes < done.oldSizeBytes)
    return `${dir}: ${sizes}; ${done.shrunk === null ? 'no file system in it' : `its ${done.shrunk} fits`}`;
  return `${dir}: ${sizes}; ${done.grown === null ? 'no file system grown' : `its ${done.grown}${where} fills it`}`;
}
