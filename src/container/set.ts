// SPDX-License-Identifier: Apache-2.0
// Changing a container's settings. The disk changes first: when that fails, nothing has changed.

import { resizeImage } from '../filesystem/image/resize.js';
import { readDescriptor } from '../image/descriptor.js';
import { formatSize } from '../units.js';
import { writeConfig } from './place/config.js';
import { checkHostname } from './create.js';
import { applyLimits } from './limits.js';
import { requireUnmarked } from './move/mark.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { ContainerPaths, VzRootOptions } from './place/roots.js';
import { requireStopped } from './state.js';

export interface SetContainerOptions extends VzRootOptions {
  /** Smaller than it is: only while the container is stopped and unmounted. */
  diskspaceBytes?: number | undefined;
  /** Counts from the next start on. */
  hostname?: string | undefined;
  onboot?: 'yes' | 'no' | undefined;
  description?: string | undefined;
  /** Bytes the disk may move a second, counted at once; 0: no limit. */
  iolimitBytes?: number | undefined;
  /** Operations the disk may do a second; 0: no limit. */
  iopslimit?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface ChangedSettings {
  ctid: string;
  changed: { key: string; value: string }[];
}

export async function setContainer(ctid: string, options: SetContainerOptions): Promise<ChangedSettings> {
  const { paths } = await requireContainer(ctid, options);
  const { diskspaceBytes, hostname, onboot, description, iolimitBytes, iopslimit, signal } = options;
  if (hostname !== undefined) checkHostname(hostname);
  return withContainerLock(paths, 'vzctl set', async () => {
    // Under the lock: another command may have written it meanwhile.
    const { config } = await requireUnmarked(ctid, options);
    const changed: { key: string; value: string }[] = [];
    const change = (key: string, value: string | undefined): void => {
      if (value === undefined) return;
      config.set(key, value);
      changed.push({ key, value });
    };
    change('HOSTNAME', hostname);
    change('ONBOOT', onboot);
    change('DESCRIPTION', description);
    if (diskspaceBytes !== undefined) {
      await refuseShrinkInUse(paths, diskspaceBytes);
      const { sizeBytes } = await resizeImage(paths.imageDir, { runDir: paths.roots.runDir, sizeBytes: diskspaceBytes, signal });
      change('DISKSPACE', `${sizeBytes / 1024}:${sizeBytes / 1024}`);
    }
    if (iolimitBytes !== undefined || iopslimit !== undefined) {
      await applyLimits(paths, { bps: iolimitBytes, iops: iopslimit }, signal);
      change('IOLIMIT', iolimitBytes?.toString());
      change('IOPSLIMIT', iopslimit?.toString());
    }
    await writeConfig(paths.confFile, config);
    return { ctid, changed };
  });
}

async function refuseShrinkInUse(paths: ContainerPaths, diskspaceBytes: number): Promise<void> {
  const { size } = await readDescriptor(paths.imageDir);
  if (diskspaceBytes < size) await requireStopped(paths, `its disk of ${formatSize(size)} shrinks only while it is stopped`);
}
