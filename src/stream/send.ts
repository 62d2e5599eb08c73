// SPDX-License-Identifier: Apache-2.0
// Sends snapshots of an image to our stdout (docs/stream.md), attached or not: only sealed layers are read.

import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { checkInteger, checkOptions, checkPath, checkText } from '../native/arguments.js';
import { startStream, type Transferred, type TransferOptions } from './transfer.js';

export interface SendOptions extends TransferOptions {
  /** The last snapshot to send; default: the newest that the present state builds on. */
  snapshot?: string | undefined;
  /** The receiver has this one: only what changed since is sent. */
  since?: string | undefined;
  /** Goes on with a broken transfer; given alone. */
  token?: string | undefined;
  /** zstd, 0 (not compressed) to 19. */
  level?: number | undefined;
}

export const DEFAULT_LEVEL = 1;

export async function sendImage(dir: string, options: SendOptions = {}): Promise<Transferred> {
  const args = await sendArguments(dir, options);
  return startStream<Transferred>(args, { stdin: 'ignore', stdout: 'inherit' }, options).result;
}

/** The words after `ploop-stream`. */
export async function sendArguments(dir: string, options: SendOptions): Promise<string[]> {
  checkPath('send: dir', dir);
  checkOptions('send', options, ['snapshot', 'since', 'token', 'level', 'onProgress', 'signal']);
  const { snapshot, since, token } = options;
  if (token !== undefined && (snapshot !== undefined || since !== undefined)) {
    throw new PloopError('INVALID_ARGUMENT', 'send: a token says what is to be sent; it is given without --snapshot and --since');
  }
  const level = checkInteger('send: level', options.level ?? DEFAULT_LEVEL, { min: 0, max: 19 });
  await readDescriptor(dir);
  return [
    'send',
    dir,
    ...(snapshot === undefined ? [] : ['--snapshot', checkText('send: snapshot', snapshot)]),
    ...(since === undefined ? [] : ['--since', checkText('send: since', since)]),
    ...(token === undefined ? [] : ['--token', checkText('send: token', token)]),
    '--level',
    String(level),
  ];
}
