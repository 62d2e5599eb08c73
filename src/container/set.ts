// SPDX-License-Identifier: Apache-2.0
// Changing a container's settings. The disk changes first: when that fails, nothing has changed.

import { limitImage } from '../filesystem/image/limit.js';
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
import { isMounted, requireStopped } from './state.js';

export interface SetContainerOptions extends VzRootOptions {
  /** Smaller than it is: a limit while it is mounted (ext4 only), a smaller disk while it is not. */
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
      const sizeBytes = await changeDisk(paths, diskspaceBytes, signal);
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

const BLOCK_BYTES = 4096;

/** Smaller than the disk while it is in use, it becomes a limit: the disk itself stays as it is. Answers what it is now. */
async function changeDisk(paths: ContainerPaths, diskspaceBytes: number, signal: AbortSignal | undefined): Promise<number> {
  const { imageDir: dir, roots } = paths;
  const { runDir } = roots;
  const { size, fs } = await readDescriptor(dir);
  const wantedBytes = Math.ceil(diskspaceBytes / BLOCK_BYTES) * BLOCK_BYTES;
  if (wantedBytes <= size && fs === 'ext4' && (await isMounted(paths))) {
    await limitImage(dir, { runDir, limitBytes: wantedBytes === size ? null : wantedBytes });
    return wantedBytes;
  }
  if (wantedBytes < size) await requireStopped(paths, `its disk of ${formatSize(size)} shrinks only while it is stopped`);
  return (await resizeImage(dir, { runDir, sizeBytes: diskspaceBytes, signal })).sizeBytes;
}
