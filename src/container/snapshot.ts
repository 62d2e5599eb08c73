// SPDX-License-Identifier: Apache-2.0
// Snapshots of a container's disk. Taking one needs no stop: the file system is frozen for the moment it takes.
// Deleting needs none either; going back needs the container stopped and unmounted.

import { type DeletedSnapshot, deleteSnapshot } from '../attach/jobs.js';
import { type SwitchedTo, switchToSnapshot, type TakenSnapshot } from '../attach/operations.js';
import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { findSnapshot, type ListedSnapshot, listSnapshots } from '../image/snapshots.js';
import { requireUnmarked } from './move/mark.js';
import { writeConfig } from './place/config.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { ContainerPaths, VzRootOptions } from './place/roots.js';
import { startContainer } from './start.js';
import { isMounted, requireStopped } from './state.js';
import { stopContainer } from './stop.js';
import { snapshotContainerImage } from './storage.js';

export interface SnapshotContainerOptions extends VzRootOptions {
  name?: string | undefined;
  description?: string | undefined;
  /** Told of what the snapshot does not hold, and of temporary snapshots that were deleted. */
  onNote?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export async function snapshotContainer(ctid: string, options: SnapshotContainerOptions = {}): Promise<TakenSnapshot> {
  const { paths } = await requireUnmarked(ctid, options);
  return withContainerLock(paths, 'vzctl snapshot', () => snapshotContainerImage(paths, options));
}

export async function listContainerSnapshots(ctid: string, options: VzRootOptions = {}): Promise<ListedSnapshot[]> {
  const { paths } = await requireContainer(ctid, options);
  return listSnapshots(paths.imageDir);
}

export interface SwitchContainerOptions extends VzRootOptions {
  /** Do not keep the state before. */
  discard?: boolean | undefined;
  /** Stop a running container before, and start it afterwards. */
  restart?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** `key`: id, unique prefix or name. The state before is kept as a snapshot. */
export async function switchContainerToSnapshot(ctid: string, key: string, options: SwitchContainerOptions = {}): Promise<SwitchedTo> {
  const { paths } = await requireContainer(ctid, options);
  if (options.restart !== true) return switchStopped(ctid, key, options);
  // Before anything is stopped.
  findSnapshot(await readDescriptor(paths.imageDir), key);
  const { vzRoot, signal } = options;
  const { wasRunning } = await stopContainer(ctid, { vzRoot, signal });
  try {
    return await switchStopped(ctid, key, options);
  } finally {
    // Also after a switch that failed: then it is as before.
    if (wasRunning) await startContainer(ctid, { vzRoot });
  }
}

async function switchStopped(ctid: string, key: string, options: SwitchContainerOptions): Promise<SwitchedTo> {
  const { paths } = await requireContainer(ctid, options);
  return withContainerLock(paths, 'vzctl snapshot-switch', async () => {
    const { config } = await requireUnmarked(ctid, options);
    await requireUnused(paths, 'going back to a snapshot needs it stopped');
    const switched = await switchToSnapshot(paths.imageDir, key, { runDir: paths.roots.runDir, discard: options.discard });
    if (switched.sizeBytes !== switched.oldSizeBytes) {
      config.set('DISKSPACE', `${switched.sizeBytes / 1024}:${switched.sizeBytes / 1024}`);
      await writeConfig(paths.confFile, config);
    }
    return switched;
  });
}

export interface DeleteContainerSnapshotOptions extends VzRootOptions {
  /** Do not wait for the merge of a mounted container's disk. */
  background?: boolean | undefined;
  /** At most so many bytes a second are moved; 0 = no limit. */
  rateBytes?: number | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export async function deleteContainerSnapshot(
  ctid: string,
  key: string,
  options: DeleteContainerSnapshotOptions = {},
): Promise<DeletedSnapshot> {
  const { paths } = await requireUnmarked(ctid, options);
  const { background, rateBytes, onProgress, signal } = options;
  const work = { runDir: paths.roots.runDir, rateBytes, onProgress, signal };
  const hidden = await withContainerLock(paths, 'vzctl snapshot-delete', () =>
    deleteSnapshot(paths.imageDir, key, { ...work, background: true }),
  );
  if (background === true || hidden.done || hidden.kept) return hidden;
  // The merge of a mounted disk may take long, and is in nobody's way: the container can be stopped meanwhile.
  return deleteSnapshot(paths.imageDir, hidden.id, work).catch((error: unknown) => {
    if (error instanceof PloopError && error.code === 'SNAPSHOT_NOT_FOUND') return { ...hidden, done: true };
    throw error;
  });
}

async function requireUnused(paths: ContainerPaths, doing: string): Promise<void> {
  await requireStopped(paths, doing);
  if (!(await isMounted(paths))) return;
  throw new PloopError('MOUNTED', `container ${paths.ctid} is mounted on ${paths.mountPoint}; ${doing.replace(' stopped', ' unmounted')}`, {
    hint: `Unmount it first: vzctl umount ${paths.ctid}`,
  });
}
