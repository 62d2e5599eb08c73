// SPDX-License-Identifier: Apache-2.0
// Mounting an image: attach, find out what file system it holds, mount. A mount that fails leaves nothing attached.
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';

import { findAttachment, type Attachment, type DeviceLimits, type OnFull } from '../../attach/attachments.js';
import { mountPointsOf } from '../../attach/mounts.js';
import { attachImage, type AttachResult } from '../../attach/ploopd.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import type { ViaChoice } from '../../attach/via.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { findSnapshot } from '../../image/snapshots.js';
import { type LimitedDisk, restoreLimit } from '../limit.js';
import { checkMountPoint, mountFileSystem } from '../mount.js';
import type { FileSystemType } from '../type.js';
import { readSuperblock } from '../usage.js';
import { type CollectNote, collectTemporary } from './collect.js';
import { detachDevice } from './detach.js';
import { makeMountPoint, removeMountPoint } from './places.js';
import { clearAbandoned } from './temporary.js';

export interface MountImageOptions extends RunDirectoryOption, DeviceLimits, CollectNote {
  /** An existing directory. Default: one below the run directory, which only root may enter. */
  mountPoint?: string | undefined;
  readOnly?: boolean | undefined;
  /** Id, unique prefix or name; always read-only. */
  snapshot?: string | undefined;
  /** What writes do while the host's file system is full: wait for room (the default), or fail. */
  onFull?: OnFull | undefined;
  /** How the device is made. Default: $PLOOP_VIA, or `auto`. */
  via?: ViaChoice | undefined;
  signal?: AbortSignal | undefined;
}

export interface MountedImage {
  attachment: string;
  device: string;
  mountPoint: string;
  type: FileSystemType;
  readOnly: boolean;
  /** The snapshot's full id. */
  snapshot: string | null;
  journalSkipped: boolean;
}

export async function mountImage(dir: string, options: MountImageOptions = {}): Promise<MountedImage> {
  const descriptor = await readDescriptor(dir);
  const snapshot = options.snapshot === undefined ? null : findSnapshot(descriptor, options.snapshot).id;
  if (options.mountPoint !== undefined) await checkPlace(dir, options.mountPoint);
  await clearAbandoned(dir, options);
  await checkNotAttached(dir, snapshot, options);
  const { runDir, signal, readOnly, onFull, via, iops, bps } = options;
  const attached = await attachImage(dir, { runDir, signal, readOnly, onFull, via, iops, bps, ...(snapshot === null ? {} : { snapshot }) });
  try {
    const mounted = await mountAttached(dir, attached, { ...options, snapshot });
    if (!attached.readOnly) await collectTemporary(dir, options);
    return mounted;
  } catch (error) {
    await detachDevice(attached, options).catch(() => undefined);
    throw error;
  }
}

async function mountAttached(
  dir: string,
  attached: AttachResult,
  options: Omit<MountImageOptions, 'snapshot'> & { snapshot: string | null },
): Promise<MountedImage> {
  const { attachment, device, readOnly } = attached;
  if (device === null) throw new PloopError('DAEMON', `ploopd gave no device for ${dir}`);
  const superblock = await readSuperblock(device);
  if (superblock === undefined) throw noFileSystem(dir);
  const { type } = superblock;
  const place = options.mountPoint ?? (await makeMountPoint(attachment, options));
  try {
    const mounted = await mountFileSystem(device, place, { type, readOnly, signal: options.signal });
    if (type === 'ext4' && !readOnly) await limit(dir, { mountPoint: mounted.mountPoint, sizeBytes: attached.sizeBytes }, options);
    return { attachment, device, type, readOnly, snapshot: options.snapshot, ...mounted };
  } catch (error) {
    await removeMountPoint(place, options);
    throw error;
  }
}

/** Whoever mounts it is to get in, also where the kernel does not let it be limited. */
async function limit(dir: string, disk: LimitedDisk, { onNote }: CollectNote): Promise<void> {
  await restoreLimit(disk).catch((error: unknown) => onNote?.(`${dir}: its limit does not count: ${(error as Error).message}`));
}

/** Mounting over the image's own files would hide them from everybody. */
async function checkPlace(dir: string, mountPoint: string): Promise<void> {
  const place = await checkMountPoint(mountPoint);
  const image = await realpath(dir);
  if (place === image || place.startsWith(`${image}/`)) {
    throw new PloopError('INVALID_ARGUMENT', `mount point ${mountPoint} lies in the image's own directory ${dir}`, {
      hint: 'Choose a directory elsewhere.',
    });
  }
}

async function checkNotAttached(dir: string, snapshot: string | null, options: RunDirectoryOption): Promise<void> {
  const existing = await findAttachment(dir, { runDir: options.runDir, snapshot: snapshot ?? undefined });
  if (existing === null) return;
  const mountPoints = existing.devno === null ? [] : await mountPointsOf(existing.devno);
  if (mountPoints.length === 0 && !existing.live) {
    // Left over from a ploopd that was killed: in nobody's way.
    await detachDevice(existing, options);
    return;
  }
  throw mountPoints.length > 0 ? alreadyMounted(dir, existing, mountPoints) : alreadyAttached(dir, existing);
}

function alreadyMounted(dir: string, existing: Attachment, mountPoints: string[]): PloopError {
  const gone = existing.live ? '' : ', but its ploopd is gone';
  return new PloopError('MOUNTED', `${dir} is mounted on ${mountPoints.join(', ')} (${existing.device ?? 'no device'})${gone}`, {
    hint: `Unmount it with: ploop umount ${mountPoints[0]}`,
    details: { mountPoints, device: existing.device, live: existing.live },
  });
}

function alreadyAttached(dir: string, existing: Attachment): PloopError {
  return new PloopError(
    'ATTACHED',
    `${dir} is attached as ${existing.device ?? existing.attachment} by ploopd (pid ${existing.keeper}), and not mounted by ploop`,
    {
      hint: `Detach it with: ploop detach ${resolve(dir)}`,
      details: { device: existing.device, keeper: existing.keeper },
    },
  );
}

function noFileSystem(dir: string): PloopError {
  return new PloopError('UNSUPPORTED', `${dir} holds no file system that ploop can mount (ext4 or xfs)`, {
    hint: `Make one: ploop attach ${resolve(dir)}, mkfs.ext4 or mkfs.xfs on the device it prints, ploop detach ${resolve(dir)}.`,
  });
}
