// SPDX-License-Identifier: Apache-2.0
// Receives a stream from our stdin: a whole image under a new name, or changes into an image that has their base. Nothing
// appears before all of it has arrived.

import { checkOptions, checkPath } from '../native/arguments.js';
import { startStream, type Transferred, type TransferOptions } from './transfer.js';

export interface ReceiveOptions extends TransferOptions {
  /** Discard what was written to the image since its last snapshot. */
  force?: boolean | undefined;
}

export async function receiveImage(dir: string, options: ReceiveOptions = {}): Promise<Transferred> {
  return startStream<Transferred>(receiveArguments(dir, options), { stdin: 'inherit', stdout: 'capture' }, options).result;
}

/** The words after `ploop-stream`. */
export function receiveArguments(dir: string, options: ReceiveOptions): string[] {
  checkPath('receive: dir', dir);
  checkOptions('receive', options, ['force', 'onProgress', 'signal']);
  return ['receive', dir, ...(options.force === true ? ['--force'] : [])];
}

/** What `ploop send` needs to go on with a transfer into dir that broke; NOT_FOUND when there is none. */
export async function resumeToken(dir: string, options: Pick<TransferOptions, 'signal'> = {}): Promise<string> {
  checkPath('receive: dir', dir);
  const found = await startStream<{ token: string }>(['token', dir], { stdin: 'ignore', stdout: 'capture' }, options).result;
  return found.token;
}
