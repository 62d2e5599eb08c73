// SPDX-License-Identifier: Apache-2.0
// `ploop create`: a new image, with a file system, filled if asked.
import { describeImage } from '../../attach/describe.js';
import { PloopError } from '../../errors.js';
import { newImage, type NewImageOptions } from '../../filesystem/image/create.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { runDirOption, text, withProgress, word } from './image-argument.js';

const BLOCK_SIZES = [4096, 8192, 16384, 32768, 65536];

export const createCommand: Command = {
  name: 'create',
  aliases: ['init'],
  summary: 'make an image',
  description:
    'Makes an image in DIR, which must not exist or be empty, with a file system on it. With --from, the file system is filled ' +
    'from a root file system archive or a directory. When it fails or is interrupted, nothing is left of it.',
  arguments: [{ name: 'dir', summary: 'the directory to make', required: true }],
  options: [
    {
      flags: '-s, --size <size>',
      summary: 'size of the disk: 10G, 512M, or bytes',
      required: true,
      parse: (given) => parseSize(given, '--size'),
    },
    { flags: '-t, --fs <type>', summary: 'file system to make', choices: ['ext4', 'xfs', 'none'], default: 'ext4' },
    {
      flags: '-b, --block-size <size>',
      summary: 'unit of copy-on-write and discard: 4K, 8K, 16K, 32K or 64K',
      parse: parseBlockSize,
      default: 4096,
    },
    { flags: '-L, --label <text>', summary: 'label of the image and its file system' },
    { flags: '--checksums', summary: 'checksums of all blocks for layers that are sealed, for check --data' },
    { flags: '--from <path>', summary: 'fill it from a tar archive (.tar, .gz, .xz, .zst) or a directory' },
  ],
  examples: [
    ['ploop create /vz/web --size 10G', 'an empty 10 GiB disk with ext4'],
    ['ploop create /vz/web -s 20G --fs xfs --from debian-12.tar.zst', 'a root file system in xfs'],
  ],
  run: create,
};

function parseBlockSize(given: string): number {
  const size = parseSize(given, '--block-size');
  if (!BLOCK_SIZES.includes(size)) throw new PloopError('INVALID_ARGUMENT', `--block-size: ${given} is not one of 4K, 8K, 16K, 32K, 64K`);
  return size;
}

async function create(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const from = text(options['from']);
  await withProgress(ctx, from === undefined ? 'creating' : 'filling', (onProgress) =>
    newImage(dir, {
      sizeBytes: options['size'] as number,
      blockSizeBytes: options['blockSize'] as number,
      fs: options['fs'] as NewImageOptions['fs'],
      label: text(options['label']),
      checksums: options['checksums'] === true,
      from,
      onProgress,
      signal: ctx.signal,
      ...runDirOption(ctx),
    }),
  );
  const { directory, id, label, fs, sizeBytes, blockSizeBytes, hostBytes } = await describeImage(dir, runDirOption(ctx));
  ctx.result(
    { directory, id, label, fs, sizeBytes, blockSizeBytes, hostBytes },
    `${directory}: ${formatSize(sizeBytes)}, ${fs === 'none' ? 'no file system' : fs}, ${formatSize(blockSizeBytes)} blocks; the host spends ${formatSize(hostBytes)}`,
  );
}
