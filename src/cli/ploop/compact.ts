// SPDX-License-Identifier: Apache-2.0
// `ploop compact`: space that the file system does not use goes back to the host.
import { resolve } from 'node:path';

import { compactImage } from '../../filesystem/image/compact.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { COMPACT_OPTIONS, compactedText, compactOptionsOf, stepProgress } from '../compacted.js';
import { collectOptions, IMAGE_ARGUMENT, word } from './image-argument.js';

export const compactCommand: Command = {
  name: 'compact',
  aliases: ['balloon'],
  summary: 'give unused space back to the host',
  description:
    'In four steps. trim: asks the file system which blocks it does not use (a detached image is mounted for that, out of sight) and gives ' +
    'them back, in small ranges with pauses. pack: moves the blocks of ext4 files together so that more clusters become empty; only ' +
    'where that pays: with `--discard cluster`, or blocks of 64 KiB. below: layers of deleted snapshots that several branches need lose what none of them sees. relocate: moves what is ' +
    'at the end of the file into free clusters and shortens it. Works while the image is in use, can be interrupted at any time, and ' +
    'gives way to a command that unmounts the image. ' +
    'What a snapshot holds stays.',
  arguments: [IMAGE_ARGUMENT],
  options: COMPACT_OPTIONS,
  examples: [
    ['ploop compact /vz/web', 'mounted or not'],
    ['ploop compact /vz/web --time 60 --busy 20', 'for a minute, and gently'],
  ],
  run: compact,
};

async function compact(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const bar = stepProgress(ctx);
  const done = await compactImage(dir, {
    ...compactOptionsOf(options),
    ...bar.callbacks,
    ...collectOptions(ctx),
  }).finally(() => bar.end());
  const freedBytes = done.hostBytesBefore - done.hostBytesAfter;
  ctx.result({ directory: resolve(dir), freedBytes, ...done }, compactedText(dir, done));
}
