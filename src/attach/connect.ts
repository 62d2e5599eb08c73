// SPDX-License-Identifier: Apache-2.0
// Connecting to the control socket of an attachment.
import { constants, open } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';

import { PloopError } from '../errors.js';
import type { Attachment } from './attachments.js';

const CONNECT_TIMEOUT_MS = 10_000;

/** Through a descriptor of the folder: the path of a socket has 107 characters, run directories may be longer. */
export async function connectControl(attachment: Pick<Attachment, 'folder'>): Promise<Socket> {
  const fail = (why: string, cause?: unknown): PloopError => {
    const message = `no answer from the image's ploopd at ${join(attachment.folder, 'control')}: ${why}`;
    return new PloopError('DAEMON', message, { hint: logHint(attachment), cause });
  };
  const folder = await open(attachment.folder, constants.O_RDONLY | constants.O_DIRECTORY).catch((error: NodeJS.ErrnoException) => {
    throw fail(error.code ?? error.message, error);
  });
  try {
    return await connected(`/proc/self/fd/${folder.fd}/control`);
  } catch (error) {
    throw fail((error as NodeJS.ErrnoException).code ?? (error as Error).message, error);
  } finally {
    await folder.close();
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const timer = setTimeout(() => socket.destroy(new Error('connecting took too long')), CONNECT_TIMEOUT_MS);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    // Stays: an error between here and the client's own listener must not be nobody's.
    socket.on('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

export function logHint(attachment: Pick<Attachment, 'folder'>): string {
  return `its log is ${join(attachment.folder, 'log')}`;
}
