// SPDX-License-Identifier: Apache-2.0
// Another size for an image and the file system in it: larger, mounted or not; smaller, detached (shrink.ts). Run again after
// an interruption, it does what is missing.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

import { findAttachment, type Attachment } from '../../attach/attachments.js';
import { askToGiveWay } from '../../attach/compacting.js';
import { control, deadDaemon } from '../../attach/control.js';
import { type MountEntry, reachableMounts } from '../../attach/mounts.js';
import { whileDetached } from '../../attach/operations.js';
import { showSize } from '../../attach/ploopd.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { native } from '../../native/index.js';
import { formatSize, MAX_SIZE_BYTES } from '../../units.js';
import { checkOnlineGrowth, growFileSystem } from '../grow.js';
import { limitFileSystem } from '../limit.js';
import type { ShrinkStep } from '../shrink.js';
import { isFileSystemType, type FileSystemType } from '../type.js';
import { readSuperblock } from '../usage.js';
import { shrinkImage } from './shrink.js';
import { clearAbandoned, withAttached, withMountedDevice } from './temporary.js';

export interface ResizeImageOptions extends RunDirectoryOption {
  sizeBytes: number;
  /** When it gets smaller and holds no file system that ploop knows: lose what is beyond the new end. */
  cut?: boolean | undefined;
  onStep?: ((step: ShrinkStep) => void) | undefined;
  /** Of what moves when it gets smaller. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ResizedImage {
  oldSizeBytes: number;
  sizeBytes: number;
  /** null: the image holds none, or it is attached and not mounted, when it is its user's affair. */
  grown: FileSystemType | null;
  /** The file system that was made smaller, or was small enough; null: the disk did not shrink, or holds none. */
  shrunk: 'ext4' | null;
  mountPoint: string | null;
}

export async function resizeImage(dir: string, options: ResizeImageOptions): Promise<ResizedImage> {
  await clearAbandoned(dir, options);
  const { size: oldSizeBytes, blockSize } = await readDescriptor(dir);
  const sizeBytes = checkSize(options.sizeBytes, blockSize);
  if (sizeBytes < oldSizeBytes) {
    const shrunk = await shrinkImage(dir, { ...options, sizeBytes });
    return { oldSizeBytes, sizeBytes, grown: null, shrunk, mountPoint: null };
  }
  const attachment = await findAttachment(dir, options);
  const done = attachment === null ? await resizeDetached(dir, sizeBytes, options) : await resizeAttached(attachment, sizeBytes, options);
  return { oldSizeBytes, sizeBytes, shrunk: null, ...done };
}

/** Rounds up to the block size, as the image does. */
function checkSize(wanted: number, blockSize: number): number {
  if (!Number.isSafeInteger(wanted) || wanted <= 0)
    throw new PloopError('INVALID_ARGUMENT', `size: ${wanted} is not a positive number of bytes`);
  const limit = MAX_SIZE_BYTES * (blockSize / 4096);
  if (wanted > limit) throw new PloopError('INVALID_ARGUMENT', `size: ${wanted} bytes is beyond the limit of ${formatSize(limit)}`);
  return Math.ceil(wanted / blockSize) * blockSize;
}

type Done = Pick<ResizedImage, 'grown' | 'mountPoint'>;

async function resizeDetached(dir: string, sizeBytes: number, options: ResizeImageOptions): Promise<Done> {
  const { runDir, signal } = options;
  if (signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before ${dir} was resized`);
  await whileDetached(dir, () => native.resize(dir, sizeBytes), { runDir, doing: 'resizing' });
  const grow = async (device: string): Promise<Done> => {
    const type = (await readSuperblock(device))?.type ?? null;
    if (type === 'ext4') await growFileSystem(device, { type, signal });
    if (type === 'xfs') {
      await withMountedDevice(device, (mountPoint) => growFileSystem(device, { type, mountPoint, signal }), { type, runDir, signal });
    }
    return { grown: type, mountPoint: null };
  };
  return withAttached(dir, ({ device }) => grow(device), { runDir, signal }).catch((error: unknown) => {
    throw halfDone(dir, sizeBytes, error);
  });
}

/** The disk has grown and the file system has not: harmless, but to be known. */
function halfDone(dir: string, sizeBytes: number, error: unknown): unknown {
  if (!(error instanceof PloopError)) return error;
  const { code, message, details } = error;
  return new PloopError(code, `the disk has ${formatSize(sizeBytes)} now, but its file system was not grown: ${message}`, {
    hint: `${error.hint === undefined ? '' : `${error.hint} Then `}complete it with: ploop resize ${resolve(dir)} --size ${sizeBytes}`.replace(
      /^c/,
      'C',
    ),
    details,
    cause: error,
  });
}

async function resizeAttached(attachment: Attachment, sizeBytes: number, options: ResizeImageOptions): Promise<Done> {
  const { device, directory } = attachment;
  if (!attachment.live) throw deadDaemon(attachment);
  if (attachment.readOnly)
    throw new PloopError('READ_ONLY', `${directory} is attached read-only`, { hint: 'Detach it, or mount it writable, then resize.' });
  const mounts = attachment.devno === null ? [] : await reachableMounts(attachment.devno);
  const mount = mounts.find(({ root }) => root === '/');
  if (mount?.mountPoint.startsWith('/proc/') === true) throw mountedElsewhere(attachment, mount);
  const type = mount !== undefined && isFileSystemType(mount.type) ? mount.type : null;
  if (mount !== undefined && mount.options.split(',').includes('ro')) {
    throw new PloopError('READ_ONLY', `${directory} is mounted read-only on ${mount.mountPoint}`, {
      hint: `Unmount it first: ploop umount ${mount.mountPoint}`,
    });
  }
  if (type !== null) await checkOnlineGrowth(type);
  await askToGiveWay(attachment);
  await control(attachment, 'resize', { size: sizeBytes }, { signal: options.signal });
  if (device !== null) await growDevice(attachment, sizeBytes, options);
  if (type === null || mount === undefined || device === null) return { grown: null, mountPoint: null };
  // What it was limited to is not what is wanted now; with another size it is void, and here the kernel must know.
  if (type === 'ext4') await limitFileSystem({ mountPoint: mount.mountPoint, sizeBytes }, null);
  await growFileSystem(device, { type, mountPoint: mount.mountPoint, signal: options.signal });
  return { grown: type, mountPoint: mount.mountPoint };
}

/** The tools that grow it look at the mounts they see, and would take it for one that is not mounted. */
function mountedElsewhere({ directory, device }: Attachment, { mountPoint }: MountEntry): PloopError {
  return new PloopError('MOUNTED', `${directory} is mounted in another mount namespace only, on ${mountPoint}`, {
    hint: `Mount it here as well, on any directory, then resize: mount ${device ?? ''} DIRECTORY`,
  });
}

/** Makes the device show the size, and looks at whether it does. */
async function growDevice(attachment: Attachment, sizeBytes: number, { runDir }: RunDirectoryOption): Promise<void> {
  const { device, devno } = attachment;
  await showSize(attachment, { runDir, sizeBytes });
  const sectors = await readFile(`/sys/dev/block/${devno ?? ''}/size`, 'utf8');
  const seenBytes = Number(sectors) * 512;
  if (seenBytes === sizeBytes) return;
  throw new PloopError('DAEMON', `the image has ${sizeBytes} bytes now, but ${device ?? 'its device'} still shows ${seenBytes}`, {
    hint: 'Unmount the image and mount it again, then run the same command to grow the file system.',
  });
}
