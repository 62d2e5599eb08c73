// SPDX-License-Identifier: Apache-2.0
// umount(8) of one mount point; a busy one is explained.
import { setTimeout as sleep } from 'node:timers/promises';

import { usersOfMountPoint, usersSentence } from '../attach/users.js';
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { syncFileSystem } from './sync.js';

export interface UnmountOptions {
  signal?: AbortSignal | undefined;
}

/** Something that looks at new mounts (udev, a file indexer) may hold it for a moment without being seen. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;

export interface Unmounted {
  /** The device refused writes: not all that was written is stored. */
  writeErrors: boolean;
}

/** MOUNTED, with the processes that use it, when it is busy. */
export async function unmountFileSystem(mountPoint: string, options: UnmountOptions = {}): Promise<Unmounted> {
  const writeErrors = await syncFileSystem(mountPoint).then(
    () => false,
    () => true,
  );
  for (let attempt = 1; ; attempt++) {
    if (options.signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before ${mountPoint} was unmounted`);
    const { exitCode, stderr } = await run('umount', [mountPoint], { accept: 'any' });
    if (exitCode === 0) return { writeErrors };
    if (!/target is busy|device is busy/.test(stderr)) throw unmountFailure(mountPoint, exitCode, stderr);
    const users = await usersOfMountPoint(mountPoint);
    if (users.length > 0 || attempt === ATTEMPTS) {
      const who =
        users.length === 0
          ? 'something that leaves no trace in /proc (a swap file, a loop device, a mount below it)'
          : usersSentence(users);
      throw new PloopError('MOUNTED', `${mountPoint} is busy: used by ${who}`, {
        hint: 'End these processes, or make them leave, then unmount again.',
        details: { mountPoint, processes: users },
      });
    }
    await sleep(PAUSE_MS);
  }
}

function unmountFailure(mountPoint: string, exitCode: number, stderr: string): PloopError {
  const said = stderr.trim();
  if (/not mounted|no mount point/.test(said)) return new PloopError('NOT_FOUND', `nothing is mounted on ${mountPoint}`);
  if (/permission denied|must be superuser|not permitted/.test(said)) {
    return new PloopError('NOT_PERMITTED', `no permission to unmount ${mountPoint}`, { hint: 'Run the command as root.' });
  }
  return new PloopError('TOOL_FAILED', `umount ${mountPoint} failed with exit status ${exitCode}: ${said}`, {
    details: { exitCode, stderr: said },
  });
}
