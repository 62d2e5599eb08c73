// SPDX-License-Identifier: Apache-2.0
// Unmounting an image, named by its directory, a mount point or its device: unmount, detach. Also tidies up after a ploopd
// that was killed.
import { realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { attachmentsOf, listAttachments, type Attachment } from '../../attach/attachments.js';
import { mountPointsOf, readMounts, type MountEntry } from '../../attach/mounts.js';
import { refuseWhileFull } from '../../attach/room.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { formatDevno } from '../../attach/devno.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { findSnapshot } from '../../image/snapshots.js';
import { unmountFileSystem } from '../unmount.js';
import { type CollectNote, collectTemporary } from './collect.js';
import { endDead, refuseWhileUsed, unmountAndDetach } from './detach.js';
import { removeMountPoint } from './places.js';
import { clearAbandoned } from './temporary.js';

export interface UnmountImageOptions extends RunDirectoryOption, CollectNote {
  /** With an image's directory: this snapshot's mount, not the image's own. */
  snapshot?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface UnmountedImage {
  attachment: string;
  directory: string;
  device: string | null;
  /** Where it was mounted and is no longer. */
  mountPoints: string[];
  /** Where it is still mounted, so that its device had to stay. */
  remaining: string[];
  detached: boolean;
  /** The image refused writes: not all that was written to the file system is stored. */
  writeErrors: boolean;
}

export async function unmountImage(target: string, options: UnmountImageOptions = {}): Promise<UnmountedImage> {
  const path = await realpath(target).catch(() => resolve(target));
  const mount = (await readMounts()).findLast((entry) => entry.mountPoint === path);
  if (mount !== undefined) {
    const found = await attachmentOfMount(mount, options);
    return collecting(found, () => unmountOne(found, path, options), options);
  }
  const attachment = (await attachmentOfDevice(path, options)) ?? (await attachmentOfImage(target, options));
  if (attachment.live && (await mountPoints(attachment)).length === 0) throw notMounted(attachment);
  await refuseWhileFull(attachment, 'unmounting', { always: attachment.snapshot === null });
  await endDead(attachment, options);
  const unmount = async (): Promise<UnmountedImage> =>
    result(attachment, { ...(await unmountAndDetach(attachment, options)), remaining: [], detached: true });
  return collecting(attachment, unmount, options);
}

/** Temporary snapshots go while ploopd is there to do it; one that was mounted itself goes after that. */
async function collecting(
  { directory, live, snapshot, readOnly }: Attachment,
  unmount: () => Promise<UnmountedImage>,
  options: UnmountImageOptions,
): Promise<UnmountedImage> {
  if (snapshot === null && live && !readOnly) await collectTemporary(directory, options);
  const unmounted = await unmount();
  if (snapshot !== null && unmounted.detached) await collectTemporary(directory, options);
  return unmounted;
}

/** One mount point of perhaps several: the device goes with the last. */
async function unmountOne(attachment: Attachment, path: string, options: UnmountImageOptions): Promise<UnmountedImage> {
  await refuseWhileFull(attachment, 'unmounting', { always: attachment.snapshot === null });
  await endDead(attachment, options);
  const others = (await mountPoints(attachment)).filter((mountPoint) => mountPoint !== path);
  if (others.length === 0) await refuseWhileUsed(attachment, [path]);
  const { writeErrors } = await unmountFileSystem(path, { signal: options.signal });
  await removeMountPoint(path, options);
  const remaining = await mountPoints(attachment);
  if (remaining.length > 0) return result(attachment, { mountPoints: [path], remaining, detached: false, writeErrors });
  await unmountAndDetach(attachment, options);
  return result(attachment, { mountPoints: [path], remaining, detached: true, writeErrors });
}

function result(attachment: Attachment, done: Omit<UnmountedImage, 'attachment' | 'directory' | 'device'>): UnmountedImage {
  return { attachment: attachment.attachment, directory: attachment.directory, device: attachment.device, ...done };
}

async function mountPoints(attachment: Attachment): Promise<string[]> {
  return attachment.devno === null ? [] : mountPointsOf(attachment.devno);
}

async function attachmentOfMount(mount: MountEntry, options: RunDirectoryOption): Promise<Attachment> {
  const found = (await listAttachments(options)).find((one) => one.devno === mount.devno);
  if (found !== undefined) return found;
  throw new PloopError(
    'NOT_ATTACHED',
    `${mount.mountPoint} is not the mount of an image: ${mount.source} (${mount.type}) is mounted there`,
    {
      hint: `Use: umount ${mount.mountPoint}`,
    },
  );
}

async function attachmentOfDevice(path: string, options: RunDirectoryOption): Promise<Attachment | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || !found.isBlockDevice()) return undefined;
  const devno = formatDevno(found.rdev);
  const attachment = (await listAttachments(options)).find((one) => one.devno === devno);
  if (attachment === undefined) throw new PloopError('NOT_ATTACHED', `${path} is not the device of an image`);
  return attachment;
}

async function attachmentOfImage(dir: string, options: UnmountImageOptions): Promise<Attachment> {
  const descriptor = await readDescriptor(dir);
  await clearAbandoned(dir, options);
  const attachments = await attachmentsOf(dir, options);
  if (options.snapshot !== undefined) {
    const { id } = findSnapshot(descriptor, options.snapshot);
    const one = attachments.find((attachment) => attachment.snapshot === id);
    if (one === undefined) throw new PloopError('NOT_ATTACHED', `snapshot ${options.snapshot} of ${dir} is not mounted`);
    return one;
  }
  const [first, second] = attachments;
  if (first === undefined) throw new PloopError('NOT_ATTACHED', `${dir} is not mounted`);
  if (first.snapshot === null || second === undefined) return first;
  const names = attachments.map((one) => one.snapshot ?? '').join(', ');
  throw new PloopError('AMBIGUOUS_ID', `${dir} itself is not mounted, but several of its snapshots are: ${names}`, {
    hint: 'Name one with --snapshot.',
  });
}

function notMounted(attachment: Attachment): PloopError {
  return new PloopError(
    'ATTACHED',
    `${attachment.directory} is attached as ${attachment.device ?? attachment.attachment}, but not mounted`,
    {
      hint: `Detach it with: ploop detach ${attachment.directory}`,
    },
  );
}
