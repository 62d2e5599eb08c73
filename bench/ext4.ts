// SPDX-License-Identifier: Apache-2.0
// An ext4 on a contender's device, mounted meanwhile.
import { mkdir } from 'node:fs/promises';
import { run } from '../src/exec/run.js';

export async function withExt4<T>(device: string, mountPoint: string, work: (mountPoint: string) => Promise<T>): Promise<T> {
  await run('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device]);
  await mkdir(mountPoint, { recursive: true });
  await run('mount', ['-t', 'ext4', device, mountPoint]);
  try {
    return await work(mountPoint);
  } finally {
    await run('umount', [mountPoint]);
  }
}
