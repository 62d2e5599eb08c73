// SPDX-License-Identifier: Apache-2.0
// `ploop send`: snapshots of an image as a stream on stdout.
import { resolve } from 'node:path';

import { PloopError } from '../../errors.js';
import { DEFAULT_LEVEL, sendImage } from '../../stream/send.js';
import type { Transferred } from '../../stream/transfer.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, text, withProgress, word } from './image-argument.js';

export const sendCommand: Command = {
  name: 'send',
  summary: 'write snapshots of an image as a stream to standard output',
  description:
    'Sends all snapshots up to one, whole or (--since) as changes to one that the receiver has. Works also while the image is in use: ' +
    'snapshots do not change. What was written since the last snapshot is not sent; take one first. Only blocks that are owned are ' +
    'sent, compressed. With --json the result goes to standard error.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--snapshot <id>', summary: 'the last one to send; default: the newest that the present state builds on' },
    { flags: '--since <id>', summary: 'only what changed since this snapshot' },
    { flags: '--resume <token>', summary: 'go on with a broken transfer: the token is what ploop receive --resume-token printed' },
    { flags: '--level <n>', summary: `zstd compression, 0 (none) to 19; default ${DEFAULT_LEVEL}`, parse: parseLevel },
  ],
  stdoutIsData: true,
  examples: [
    ['ploop send /vz/web | ssh backup ploop receive /vz/web', 'a copy on another machine'],
    ['ploop send /vz/web --since monday > changes', 'what changed since monday'],
  ],
  run: send,
};

export function parseLevel(given: string): number {
  const level = Number(given);
  if (!/^\d+$/.test(given) || level > 19) throw new PloopError('INVALID_ARGUMENT', `--level: ${given} is not a whole number from 0 to 19`);
  return level;
}

async function send(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const sent = await withProgress(ctx, 'sending', (onProgress) =>
    sendImage(dir, {
      snapshot: text(options['snapshot']),
      since: text(options['since']),
      token: text(options['resume']),
      level: options['level'] as number | undefined,
      onProgress,
      signal: ctx.signal,
    }),
  );
  ctx.note(`sent ${describeTransfer(sent)}`);
  ctx.result({ directory: resolve(dir), ...sent }, '');
}

/** "snapshot 9f2c…, whole, 3 snapshots: 12 MiB of data in 4 MiB" */
export function describeTransfer(done: Transferred): string {
  const what = done.from === null ? 'whole' : `since ${done.from}`;
  const count = done.snapshots === 1 ? '' : `, ${done.snapshots} snapshots`;
  return `snapshot ${done.to}, ${what}${count}: ${formatSize(done.dataBytes)} of data in ${formatSize(done.streamBytes)}`;
}
