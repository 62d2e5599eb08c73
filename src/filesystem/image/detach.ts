// SPDX-License-Identifier: Apache-2.0
// Undoing an attachment: unmount everywhere it is mounted, take the device away.
import { setTimeout as sleep } from 'node:timers/promises';

import type { Attachment } from '../../attach/attachments.js';
import { mountPointsOf } from '../../attach/mounts.js';
import { usersElsewhere, usersSentence } from '../../attach/users.js';
import { detachAttachment } from '../../attach/ploopd.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { unmountFileSystem } from '../unmount.js';
import { removeMountPoint } from './places.js';

export type Detachable = Pick<Attachment, 'attachment' | 'device' | 'devno'>;

/** udev and its like open a device for a moment when it changes. */
const ATTEMPTS = 10;
const PAUSE_MS = 100;

/** Detaches a device that nothing is mounted from; waits a moment for those who only have a look at it. */
export async function detachDevice(attachment: Detachable, options: RunDirectoryOption = {}): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await detachAttachment(attachment, { runDir: options.runDir });
      return;
    } catch (error) {
      if (!(error instanceof PloopError) || error.code !== 'MOUNTED' || attempt === ATTEMPTS) throw error;
      if (attachment.devno !== null && (await mountPointsOf(attachment.devno)).length > 0) throw error;
    }
    await sleep(PAUSE_MS);
  }
}

/** What waits for a device that nobody serves any more is to fail; else unmounting waits, too. FUSE does so by itself. */
export async function endDead(attachment: Attachment, options: RunDirectoryOption = {}): Promise<void> {
  if (attachment.live || attachment.device === null || attachment.via === 'fuse') return;
  await detachAttachment(attachment, { runDir: options.runDir }).catch((error: unknown) => {
    if (!(error instanceof PloopError) || error.code !== 'MOUNTED') throw error;
  });
}

/** A container keeps its root when the host's mount of it goes, so its device would stay, and nothing here would see it mounted. */
export async function refuseWhileUsed({ devno }: Detachable, mountPoints: readonly string[]): Promise<void> {
  if (devno === null) return;
  for (let attempt = 1; ; attempt++) {
    const users = await usersElsewhere(devno);
    if (users.length === 0) return;
    if (attempt === ATTEMPTS) {
      throw new PloopError('MOUNTED', `${mountPoints.join(', ')} is busy: used by ${usersSentence(users)}`, {
        hint: 'End these processes (a container: vzctl stop), then unmount again.',
        details: { mountPoint: mountPoints[0] ?? null, processes: users },
      });
    }
    await sleep(PAUSE_MS);
  }
}

/** Unmounts what is mounted from the device, the newest mount first, then detaches it. */
export async function unmountAndDetach(
  attachment: Detachable,
  options: RunDirectoryOption & { signal?: AbortSignal | undefined } = {},
): Promise<{ mountPoints: string[]; writeErrors: boolean }> {
  const mountPoints = attachment.devno === null ? [] : (await mountPointsOf(attachment.devno)).toReversed();
  if (mountPoints.length > 0) await refuseWhileUsed(attachment, mountPoints);
  let writeErrors = false;
  for (const mountPoint of mountPoints) {
    const unmounted = await unmountFileSystem(mountPoint, { signal: options.signal });
    writeErrors ||= unmounted.writeErrors;
    await removeMountPoint(mountPoint, options);
  }
  await detachDevice(attachment, options);
  return { mountPoints, writeErrors };
}
