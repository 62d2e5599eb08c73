// SPDX-License-Identifier: Apache-2.0
// `ploop receive`: a stream from stdin becomes an image, or part of one.
import { resolve } from 'node:path';

import { receiveImage, resumeToken } from '../../stream/receive.js';
import type { Argument, Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { withProgress, word } from './image-argument.js';
import { describeTransfer } from './send.js';

const TARGET: Argument = { name: 'dir', summary: 'the new image, or for changes the image that has their base', required: true };

export const receiveCommand: Command = {
  name: 'receive',
  summary: 'read a stream of ploop send from standard input',
  description:
    'A whole image gets a new directory and a new id; changes are added to an image that is not attached and has the snapshot they ' +
    'build on, and the disk then shows the last one. Either appears only when all of it has arrived and was found right. When the ' +
    'transfer breaks, what has arrived is kept: --resume-token prints what ploop send --resume needs to go on.',
  arguments: [TARGET],
  options: [
    { flags: '--force', summary: 'discard what was written to the image since its last snapshot' },
    { flags: '--resume-token', summary: 'receive nothing: print the token of a transfer that broke' },
  ],
  examples: [
    ['ploop receive /vz/web < stream', 'from a file'],
    ['ploop send /vz/web --resume "$(ssh backup ploop receive --resume-token /vz/web)" | ssh backup ploop receive /vz/web', 'go on'],
  ],
  run: receive,
};

async function receive(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  if (options['resumeToken'] === true) {
    const token = await resumeToken(dir, { signal: ctx.signal });
    ctx.result({ directory: resolve(dir), token }, token);
    return;
  }
  const received = await withProgress(ctx, 'receiving', (onProgress) =>
    receiveImage(dir, { force: options['force'] === true, onProgress, signal: ctx.signal }),
  );
  ctx.note(`received ${describeTransfer(received)}`);
  ctx.result({ directory: resolve(dir), ...received }, '');
}
