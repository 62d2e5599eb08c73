// SPDX-License-Identifier: Apache-2.0
// Everything written to a mounted file system reaches its device, or it is said that it did not: the page cache takes
// writes that the device refuses later, and an umount alone says nothing of them.
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';

export async function syncFileSystem(mountPoint: string): Promise<void> {
  const { exitCode, stderr } = await run('sync', ['--file-system', mountPoint], { accept: 'any' });
  if (exitCode === 0) return;
  throw new PloopError('IO', `${mountPoint}: not everything written could be stored: ${stderr.trim()}`, {
    hint: 'The host may be out of space, or its disk at fault: the kernel log (dmesg) says more.',
  });
}
