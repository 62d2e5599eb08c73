// SPDX-License-Identifier: Apache-2.0
// Attaching (and mounting) a detached image for the time of one piece of work. Always undone: at once when the work ends,
// fails or is interrupted; by the next command when this process is killed.
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { attachmentsOf } from '../../attach/attachments.js';
import { hideSnapshot } from '../../attach/jobs.js';
import { attachImage } from '../../attach/ploopd.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { native, type NativeSnapshot } from '../../native/index.js';
import { mountFileSystem } from '../mount.js';
import { syncFileSystem } from '../sync.js';
import type { FileSystemType } from '../type.js';
import { unmountFileSystem } from '../unmount.js';
import { detachDevice, unmountAndDetach } from './detach.js';
import { noteKeeper, placeMarker, readMarker, releaseMarker, type Marker } from './marker.js';
import { makeMountPoint, removeMountPoint } from './places.js';

export interface TemporaryOptions extends RunDirectoryOption {
  readOnly?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface TemporaryDevice {
  device: string;
  sizeBytes: number;
}

/** Attaches, does the work on the device, detaches. BUSY while another command does the same. */
export async function withAttached<T>(
  dir: string,
  work: (device: TemporaryDevice) => Promise<T>,
  options: TemporaryOptions = {},
): Promise<T> {
  const { id } = await readDescriptor(dir);
  await clearAbandoned(dir, options);
  if (!(await placeMarker(id, options))) throw await busy(dir, id, options);
  let clean = true;
  try {
    // On a full host this work is to fail, not to wait.
    const { runDir, readOnly, signal } = options;
    const attached = await attachImage(dir, { runDir, readOnly, signal, onFull: 'error' });
    clean = false;
    const { device, sizeBytes, keeper } = attached;
    return await finallyUndo(
      async () => {
        await noteKeeper(id, keeper, options);
        if (device === null) throw new PloopError('DAEMON', `ploopd gave no device for ${dir}`);
        return work({ device, sizeBytes });
      },
      async () => {
        await detachDevice(attached, options);
        clean = true;
      },
    );
  } catch (error) {
    // An attach that was interrupted may have come about all the same: then it is like one of a killed command.
    if (clean && isInterruption(error)) await undoAbandoned(dir, await readMarker(id, options), options);
    throw error;
  } finally {
    await releaseMarker(id, { ...options, clean });
  }
}

/** Keeps other commands off the image for the time of the work, as withAttached does. BUSY while another one does so. */
export async function withClaim<T>(dir: string, work: () => Promise<T>, options: RunDirectoryOption = {}): Promise<T> {
  const { id } = await readDescriptor(dir);
  await clearAbandoned(dir, options);
  if (!(await placeMarker(id, options))) throw await busy(dir, id, options);
  return work().finally(() => releaseMarker(id, { ...options, clean: true }));
}

/** Mounts a device where only root sees it, does the work on the mount point, unmounts. */
export async function withMountedDevice<T>(
  device: string,
  work: (mountPoint: string) => Promise<T>,
  options: TemporaryOptions & { type: FileSystemType },
): Promise<T> {
  const place = await makeMountPoint(`temporary-${process.pid}-${device.replaceAll('/', '_')}`, options);
  try {
    const { mountPoint } = await mountFileSystem(device, place, options);
    return await finallyUndo(
      async () => {
        const result = await work(mountPoint);
        await syncFileSystem(mountPoint);
        return result;
      },
      () => unmountFileSystem(mountPoint),
    );
  } finally {
    await removeMountPoint(place, options);
  }
}

export interface ClearOptions extends RunDirectoryOption {
  /** Told of what could not be taken away and is in nobody's way: the next command tries again. */
  onNote?: ((text: string) => void) | undefined;
}

/** Takes away what a killed command left for its own purposes; says BUSY while that command still runs. */
export async function clearAbandoned(dir: string, options: ClearOptions = {}): Promise<void> {
  const { id } = await readDescriptor(dir);
  const owner = await readMarker(id, options);
  if (owner?.alive === true) throw await busy(dir, id, options);
  // The host was started anew since, perhaps: then only the image knows.
  if (owner === undefined && !(await hasAside(dir))) return;
  await undoAbandoned(dir, owner, options);
  await clearAside(dir, options);
  await hideAside(dir, options);
  await releaseMarker(id, { ...options, clean: true });
}

/** In an image's directory: a clone that is worked on beside it (aside.ts). */
export const ASIDE = 'aside';
/** What the clone is over; it has that name and that description. */
export const ASIDE_SNAPSHOT = { name: 'ploop-aside', description: 'the disk while ploop works beside it; goes by itself' };

const isAside = ({ name, description }: NativeSnapshot): boolean =>
  name === ASIDE_SNAPSHOT.name && description === ASIDE_SNAPSHOT.description;

/** Work beside the image was interrupted: its clone is there, which nobody uses, or its snapshot. */
export async function hasAside(dir: string): Promise<boolean> {
  const clone = join(dir, ASIDE);
  // At work, perhaps on another host.
  if (await native.isLocked(join(clone, 'lock'))) return false;
  const { snapshots } = await readDescriptor(dir);
  return (
    snapshots.some((one) => isAside(one) && !one.hidden) ||
    (await access(clone).then(
      () => true,
      () => false,
    ))
  );
}

/** The snapshots that such work left, those half deleted, too. */
export async function asideSnapshots(dir: string): Promise<NativeSnapshot[]> {
  return (await readDescriptor(dir)).snapshots.filter(isAside);
}

/** Its layer is merged when the image is attached. */
async function hideAside(dir: string, { runDir, onNote }: ClearOptions): Promise<void> {
  const left = (await asideSnapshots(dir)).filter(({ hidden }) => !hidden);
  for (const { id } of left) {
    await hideSnapshot(dir, id, { runDir }).catch((error: unknown) => {
      onNote?.(`${dir}: snapshot ${ASIDE_SNAPSHOT.name}, which an interrupted command left, stays for now: ${(error as Error).message}`);
    });
  }
}

export async function clearAside(dir: string, options: RunDirectoryOption): Promise<void> {
  const clone = join(dir, ASIDE);
  const isImage = await readDescriptor(clone).then(
    () => true,
    () => false,
  );
  if (isImage) await clearAbandoned(clone, options);
  await rm(clone, { recursive: true, force: true });
}

/** How long `ploopd attach` may take to come about after the marker was written. */
const ATTACH_MS = 30_000;

/** Undoes what the marker's owner attached, and nothing that somebody else attached since. */
async function undoAbandoned(dir: string, marker: Marker | undefined, options: RunDirectoryOption): Promise<void> {
  if (marker === undefined) return;
  const tops = (await attachmentsOf(dir, options)).filter((one) => one.snapshot === null);
  for (const attachment of tops) {
    const sinceMs = Date.parse(attachment.since) - marker.writtenMs;
    const itsOwn = marker.keeper === undefined ? Math.abs(sinceMs) < ATTACH_MS : marker.keeper === attachment.keeper;
    if (itsOwn) await unmountAndDetach(attachment, { runDir: options.runDir });
  }
}

async function busy(dir: string, imageId: string, options: RunDirectoryOption): Promise<PloopError> {
  const owner = await readMarker(imageId, options);
  const who = owner === undefined ? 'another command' : `pid ${owner.pid} (${owner.command})`;
  return new PloopError('BUSY', `${dir} is in use by ${who}`, {
    hint: 'Wait until that command has ended.',
    details: { pid: owner?.pid ?? null },
  });
}

function isInterruption(error: unknown): boolean {
  return error instanceof PloopError && error.code === 'INTERRUPTED';
}

/** Like try/finally, but a failing undo does not hide why the work failed. */
async function finallyUndo<T>(work: () => Promise<T>, undo: () => Promise<unknown>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await undo().catch(() => undefined);
    throw error;
  }
  await undo();
  return result;
}
