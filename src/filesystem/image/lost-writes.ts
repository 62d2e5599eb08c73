// SPDX-License-Identifier: Apache-2.0
// Writes that reached the image and failed there. A file system that writes behind its callers' backs tells nobody, not even at
// umount; the daemon has counted them.
import { statfs } from 'node:fs/promises';

import { findAttachment } from '../../attach/attachments.js';
import { control } from '../../attach/control.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';

/** Less than this free on the host, and it is what made writes fail. */
const FULL_BYTES = 1024 * 1024;

/** NO_SPACE or IO when anything written since the image was attached did not get through; undefined when all did. */
export async function lostWrites(dir: string, options: RunDirectoryOption = {}): Promise<PloopError | undefined> {
  const attachment = await findAttachment(dir, options);
  if (attachment === null) return undefined;
  const { write, flush, writeZeroes } = await control(attachment, 'stats', {});
  const errors = write.errors + flush.errors + writeZeroes.errors;
  if (errors === 0) return undefined;
  const what = `${errors} ${errors === 1 ? 'write' : 'writes'} to the image ${dir} failed`;
  const host = await statfs(dir);
  // A file system counts as full for allocation a little before it is.
  if (host.bavail * host.bsize < FULL_BYTES || host.bavail < host.blocks / 1000) {
    return new PloopError('NO_SPACE', `${what}: the host file system is full`, { hint: 'Make room on the host, then try again.' });
  }
  return new PloopError('IO', `${what}; the daemon's log says more`, { hint: `Its log is ${attachment.folder}/log` });
}
