// SPDX-License-Identifier: Apache-2.0
// Writes that reached the image and failed there. A file system that writes behind its callers' backs tells nobody, not even at
// umount; the daemon has counted them.
import { statfs } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import type { Attachment } from './attachments.js';
import { control } from './control.js';

/** NO_SPACE or IO when anything written since the image was attached did not get through. */
export async function checkNothingLost(attachment: Attachment): Promise<void> {
  const stats = await control(attachment, 'stats', {});
  const errors = stats.write.errors + stats.flush.errors + stats.writeZeroes.errors;
  if (errors === 0) return;
  const { directory } = attachment;
  const what = `${errors} ${errors === 1 ? 'write' : 'writes'} to the image ${directory} failed`;
  const { bavail, blocks, bsize } = await statfs(directory);
  if (bavail * bsize < 2 ** 20 || bavail < blocks / 1000) {
    throw new PloopError('NO_SPACE', `${what}: the host file system is full`, { hint: 'Make room on the host, then try again.' });
  }
  throw new PloopError('IO', `${what}; the daemon's log says more`, { hint: `Its log is ${attachment.folder}/log` });
}
