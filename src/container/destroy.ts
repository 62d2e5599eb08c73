// SPDX-License-Identifier: Apache-2.0
// Destroying a container: its image, its mount point and, last, its configuration, so that a destroy that was cut short
// can be repeated.

import { access, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

import { PloopError } from '../errors.js';
import { locateContainer, requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import { type ContainerPaths, IMAGE_NAME, type VzRootOptions } from './place/roots.js';
import { deleteContainer } from './runtime/driver.js';
import { isMounted, liveContainer, requireStopped } from './state.js';
import { releaseImage, unmountContainerImage } from './storage.js';

export async function destroyContainer(ctid: string, options: VzRootOptions = {}): Promise<void> {
  const { paths, config } = await locateContainer(ctid, options);
  // What a create, destroy or migrate that was killed has left may be destroyed, too.
  const places = await Promise.all([paths.privateDir, paths.stagingDir, paths.incomingDir].map(exists));
  if (config === null && !places.includes(true)) await requireContainer(ctid, options);
  await withContainerLock(paths, 'vzctl destroy', async () => {
    await requireStopped(paths, 'a running container is not destroyed');
    if (await isMounted(paths)) {
      throw new PloopError('MOUNTED', `container ${ctid} is mounted on ${paths.mountPoint}`, {
        hint: `Unmount it first: vzctl umount ${ctid}`,
      });
    }
    const live = await liveContainer(paths);
    if (live !== null) await deleteContainer(live.runtime);
    // Not mounted, as we know; but a killed command may have left it attached.
    await unmountContainerImage(paths);
    await removeContainer(paths);
  });
}

/** Under its lock, stopped and unmounted. The configuration goes last. */
export async function removeContainer(paths: ContainerPaths): Promise<void> {
  await releaseImage(paths.imageDir, paths.roots);
  await releaseImage(join(paths.stagingDir, IMAGE_NAME), paths.roots);
  await releaseImage(join(paths.incomingDir, IMAGE_NAME), paths.roots);
  for (const path of [paths.stagingDir, paths.incomingDir, paths.privateDir, paths.bundleDir, paths.logFile, `${paths.logFile}.1`]) {
    await rm(path, { recursive: true, force: true });
  }
  // Not recursive: whatever lies in the mount point is not ours.
  await rmdir(paths.mountPoint).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY') throw error;
  });
  await rm(paths.confFile, { force: true });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
