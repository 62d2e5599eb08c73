// SPDX-License-Identifier: Apache-2.0
// Making a mounted image smaller for its users without moving anything: a limit below the size of the disk.
import { resolve } from 'node:path';

import { type Attachment, findAttachment } from '../../attach/attachments.js';
import { deadDaemon } from '../../attach/control.js';
import { type MountEntry, reachableMounts } from '../../attach/mounts.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { formatSize } from '../../units.js';
import { fileSystemLimit, limitFileSystem } from '../limit.js';
import { clearAbandoned } from './temporary.js';

export interface LimitImageOptions extends RunDirectoryOption {
  /** What the file system may use of the disk, its own metadata included; null: all of it. */
  limitBytes: number | null;
}

export interface LimitedImage {
  sizeBytes: number;
  /** null: there was none. */
  oldLimitBytes: number | null;
  limitBytes: number | null;
  mountPoint: string;
}

/** Of an ext4 that is mounted writable. It counts at once, is kept with the file system, and ends with the next resize. */
export async function limitImage(dir: string, options: LimitImageOptions): Promise<LimitedImage> {
  await clearAbandoned(dir, options);
  const { size: sizeBytes } = await readDescriptor(dir);
  const { limitBytes } = options;
  if (limitBytes !== null && (!Number.isSafeInteger(limitBytes) || limitBytes <= 0 || limitBytes >= sizeBytes)) {
    throw new PloopError('INVALID_ARGUMENT', `limit: ${limitBytes} is not a size below that of the disk, ${formatSize(sizeBytes)}`, {
      hint: `To take a limit away: ploop resize ${resolve(dir)} --limit none`,
    });
  }
  const mountPoint = await mountedExt4(dir, options);
  const disk = { mountPoint, sizeBytes };
  const oldLimitBytes = await fileSystemLimit(disk);
  await limitFileSystem(disk, limitBytes);
  return { sizeBytes, oldLimitBytes, limitBytes, mountPoint };
}

async function mountedExt4(dir: string, options: RunDirectoryOption): Promise<string> {
  const attachment = await findAttachment(dir, options);
  if (attachment?.live === false) throw deadDaemon(attachment);
  const mount = attachment === null ? undefined : await writableMount(attachment);
  if (mount === undefined) {
    throw new PloopError('NOT_ATTACHED', `${dir} is not mounted for writing: a limit is given to a mounted file system`, {
      hint: `Mount it first, or make the disk itself smaller: ploop resize ${resolve(dir)} --size`,
    });
  }
  if (mount.type === 'ext4') return mount.mountPoint;
  throw new PloopError('UNSUPPORTED', `${dir} holds an ${mount.type}, and only an ext4 can be limited`);
}

/** Where all of its file system is mounted. */
export async function writableMount(attachment: Pick<Attachment, 'devno' | 'readOnly'>): Promise<MountEntry | undefined> {
  if (attachment.readOnly || attachment.devno === null) return undefined;
  const mounts = await reachableMounts(attachment.devno);
  return mounts.find(({ root, options }) => root === '/' && !options.split(',').includes('ro'));
}
