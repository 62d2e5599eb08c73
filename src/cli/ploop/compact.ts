// SPDX-License-Identifier: Apache-2.0
// `ploop compact`: space that the file system does not use goes back to the host.
import { resolve } from 'node:path';

import { compactImage, type CompactedImage } from '../../filesystem/image/compact.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, withProgress, word } from './image-argument.js';

export const compactCommand: Command = {
  name: 'compact',
  aliases: ['balloon'],
  summary: 'give unused space back to the host',
  description:
    'Asks the file system which blocks it does not use (a detached image is mounted for that, out of sight), gives their space back to ' +
    'the host and makes the file shorter. Works while the image is in use, and can be interrupted at any time. What a snapshot holds stays.',
  arguments: [IMAGE_ARGUMENT],
  options: [{ flags: '--no-trim', summary: 'do not ask the file system: only tidy the file' }],
  examples: [['ploop compact /vz/web', 'mounted or not']],
  run: compact,
};

async function compact(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const done = await withProgress(ctx, 'compacting', (onProgress) =>
    compactImage(dir, { trim: options['trim'] !== false, onProgress, signal: ctx.signal, ...runDirOption(ctx) }),
  );
  const freedBytes = done.hostBytesBefore - done.hostBytesAfter;
  ctx.result({ directory: resolve(dir), freedBytes, ...done }, render(dir, done));
}

function render(dir: string, done: CompactedImage): string {
  const change = (before: number, after: number): string => `${formatSize(before)} → ${formatSize(after)}`;
  const trimmed =
    done.trimmedBytes === null ? 'no file system was asked' : `the file system named ${formatSize(done.trimmedBytes)} as free`;
  return `${dir}: the host spends ${change(done.hostBytesBefore, done.hostBytesAfter)}; file length ${change(done.lengthBytesBefore, done.lengthBytesAfter)}; ${trimmed}`;
}
