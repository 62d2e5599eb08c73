// SPDX-License-Identifier: Apache-2.0
// Mounting a stopped container's file system on its mount point, to look at it or repair it, and undoing that.

import type { ViaChoice } from '../attach/via.js';
import { PloopError } from '../errors.js';
import { configuredLimits } from './limits.js';
import { requireUnmarked } from './move/mark.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { VzRootOptions } from './place/roots.js';
import { deleteContainer } from './runtime/driver.js';
import { isMounted, liveContainer, requireStopped } from './state.js';
import { mountContainerImage, unmountContainerImage } from './storage.js';

export interface MountContainerOptions extends VzRootOptions {
  /** How the block device is made. Default: $PLOOP_VIA, or `auto`. */
  via?: ViaChoice | undefined;
  signal?: AbortSignal | undefined;
}

export async function mountContainer(ctid: string, options: MountContainerOptions = {}): Promise<{ mountPoint: string }> {
  const { paths } = await requireContainer(ctid, options);
  return withContainerLock(paths, 'vzctl mount', async () => {
    const { config } = await requireUnmarked(ctid, options);
    if (await isMounted(paths)) {
      throw new PloopError('MOUNTED', `container ${ctid} is mounted already on ${paths.mountPoint}`, {
        hint: `Unmount it with: vzctl umount ${ctid}`,
      });
    }
    await mountContainerImage(paths, { limits: configuredLimits(config), via: options.via, signal: options.signal });
    return { mountPoint: paths.mountPoint };
  });
}

export async function unmountContainer(ctid: string, options: MountContainerOptions = {}): Promise<void> {
  const { paths } = await requireContainer(ctid, options);
  await withContainerLock(paths, 'vzctl umount', async () => {
    await requireStopped(paths, 'its file system is in use');
    if (!(await isMounted(paths))) {
      throw new PloopError('NOT_FOUND', `container ${ctid} is not mounted`, { hint: `Mount it with: vzctl mount ${ctid}` });
    }
    // Of a container whose init has ended by itself the runtime still keeps a record.
    const live = await liveContainer(paths);
    if (live !== null) await deleteContainer(live.runtime);
    await unmountContainerImage(paths);
  });
}
