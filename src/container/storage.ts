// SPDX-License-Identifier: Apache-2.0
// A container's disk: one ploop image, mounted on the container's mount point while it runs. Everything the container
// folder does to images goes through here.

import { access, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { attachmentsOf, findAttachment, type DeviceLimits } from '../attach/attachments.js';
import { attachedError } from '../attach/operations.js';
import type { ViaChoice } from '../attach/via.js';
import { PloopError } from '../errors.js';
import { unmountAndDetach } from '../filesystem/image/detach.js';
import { mountImage } from '../filesystem/image/mount.js';
import { consistentSnapshot, type ConsistentSnapshot, type ConsistentSnapshotOptions } from '../filesystem/image/snapshot.js';
import { clearAbandoned } from '../filesystem/image/temporary.js';
import { unmountImage } from '../filesystem/image/unmount.js';
import { imageFromTemplate } from '../template/image.js';
import type { ContainerPaths, VzRoots } from './place/roots.js';
import { isMounted } from './state.js';

export interface BuildImageOptions {
  /** Path of the tarball. */
  template: string;
  fs: 'ext4' | 'xfs';
  sizeBytes: number;
  roots: VzRoots;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export async function buildContainerImage(dir: string, options: BuildImageOptions): Promise<void> {
  await mkdir(options.roots.runDir, { recursive: true, mode: 0o755 });
  const { roots, ...rest } = options;
  await imageFromTemplate(dir, { ...rest, cacheDir: roots.cacheDir, runDir: roots.runDir });
}

/** Mounted already is fine; a mount whose ploopd was killed is made anew. Under the container's lock. */
export async function mountContainerImage(
  paths: ContainerPaths,
  options: { limits: DeviceLimits; via?: ViaChoice | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  const { runDir } = paths.roots;
  const { limits, via, signal } = options;
  await marked(paths, async () => {
    if (await isMounted(paths)) {
      const attachment = await findAttachment(paths.imageDir, { runDir });
      if (attachment === null) throw strangeMount(paths);
      if (attachment.live) return;
      await unmountImage(paths.mountPoint, { runDir });
    }
    await mkdir(paths.mountPoint, { recursive: true, mode: 0o700 });
    await mountImage(paths.imageDir, { runDir, mountPoint: paths.mountPoint, ...limits, via, signal });
  });
}

/** Unmounts and detaches; MOUNTED, with the processes, when something on the host uses it. Under the container's lock. */
export async function unmountContainerImage(paths: ContainerPaths, options: { ran?: boolean | undefined } = {}): Promise<void> {
  const { runDir } = paths.roots;
  await marked(paths, async () => {
    if (await isMounted(paths)) return void (await unmountImage(paths.mountPoint, { runDir }));
    // Somebody unmounted it while the container ran on it; else who attached an image without mounting it wants it so.
    const left = options.ran === true ? await findAttachment(paths.imageDir, { runDir }) : null;
    if (left !== null) await unmountAndDetach(left, { runDir });
  });
}

/**
 * Does the work with the marker in its place. A marker that is there before was left by a command that was killed between
 * attaching and mounting, or between unmounting and detaching: then the image is detached first.
 */
async function marked(paths: ContainerPaths, work: () => Promise<void>): Promise<void> {
  const { runDir } = paths.roots;
  if (await exists(paths.markerFile)) {
    const attachment = (await isMounted(paths)) ? null : await findAttachment(paths.imageDir, { runDir });
    if (attachment !== null) await unmountAndDetach(attachment, { runDir });
  }
  await mkdir(dirname(paths.markerFile), { recursive: true, mode: 0o700 });
  await writeFile(paths.markerFile, '');
  await work().finally(() => rm(paths.markerFile, { force: true }));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

export async function snapshotContainerImage(
  paths: ContainerPaths,
  options: Omit<ConsistentSnapshotOptions, 'runDir' | 'holder'>,
): Promise<ConsistentSnapshot> {
  const { name, description, signal, onNote } = options;
  return consistentSnapshot(paths.imageDir, { runDir: paths.roots.runDir, name, description, signal, onNote });
}

/** Before the directory is removed: nothing of the image may be attached. What a killed command left attached is detached. */
export async function releaseImage(dir: string, roots: VzRoots): Promise<void> {
  const { runDir } = roots;
  await clearAbandoned(dir, { runDir }).catch((error: unknown) => {
    // No image there, or a damaged one: nothing to clear.
    if (!(error instanceof PloopError) || error.code === 'BUSY') throw error;
  });
  for (const attachment of await attachmentsOf(dir, { runDir })) {
    if (attachment.live) throw await attachedError(dir, attachment, 'removing it');
    await unmountAndDetach(attachment, { runDir });
  }
}

function strangeMount(paths: ContainerPaths): PloopError {
  return new PloopError('MOUNTED', `something that is not the image of container ${paths.ctid} is mounted on ${paths.mountPoint}`, {
    hint: `Unmount it first: umount ${paths.mountPoint}`,
  });
}
