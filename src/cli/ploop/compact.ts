// SPDX-License-Identifier: Apache-2.0
// `ploop compact`: space that the file system does not use goes back to the host.
import { resolve } from 'node:path';

import { compactImage } from '../../filesystem/image/compact.js';
import { parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { compactedText, stepProgress } from '../compacted.js';
import { collectOptions, IMAGE_ARGUMENT, parsePercent, parseSeconds, word } from './image-argument.js';

export const compactCommand: Command = {
  name: 'compact',
  aliases: ['balloon'],
  summary: 'give unused space back to the host',
  description:
    'In four steps. trim: asks the file system which blocks it does not use (a detached image is mounted for that, out of sight) and gives ' +
    'them back, in small ranges with pauses. pack: moves the blocks of ext4 files together so that more clusters become empty (or ' +
    'larger blocks); where that pays: with `--discard cluster`, and with blocks of 64K. below: layers of deleted snapshots that several branches need lose what none of them sees. relocate: moves what is ' +
    'at the end of the file into free clusters and shortens it. Works while the image is in use, and can be interrupted at any time. ' +
    'What a snapshot holds stays.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--no-trim', summary: 'do not ask the file system' },
    { flags: '--pack', summary: 'move blocks of files also where it frees nothing by itself' },
    { flags: '--no-pack', summary: 'do not move blocks of files' },
    { flags: '--no-below', summary: 'leave the layers below as they are' },
    { flags: '--no-relocate', summary: 'leave the file as long as it is' },
    {
      flags: '--busy <percent>',
      summary: 'of the time that trimming may take, a fifth of it (and packing) while others use the disk (default: 50)',
      parse: (given) => parsePercent('--busy', given),
    },
    { flags: '--rate <size>', summary: 'of data a second that packing may move', parse: (given) => parseSize(given, '--rate') },
    { flags: '--time <seconds>', summary: 'stop in good order after that long', parse: (given) => parseSeconds('--time', given) },
  ],
  examples: [
    ['ploop compact /vz/web', 'mounted or not'],
    ['ploop compact /vz/web --time 60 --busy 20', 'for a minute, and gently'],
  ],
  run: compact,
};

async function compact(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const seconds = options['time'] as number | undefined;
  const bar = stepProgress(ctx);
  const done = await compactImage(dir, {
    trim: options['trim'] !== false,
    pack: options['pack'] as boolean | undefined,
    below: options['below'] !== false,
    relocate: options['relocate'] !== false,
    busyPercent: options['busy'] as number | undefined,
    rateBytesPerSecond: options['rate'] as number | undefined,
    timeBudgetMs: seconds === undefined ? undefined : seconds * 1000,
    ...bar.callbacks,
    ...collectOptions(ctx),
  }).finally(() => bar.end());
  const freedBytes = done.hostBytesBefore - done.hostBytesAfter;
  ctx.result({ directory: resolve(dir), freedBytes, ...done }, compactedText(dir, done));
}
