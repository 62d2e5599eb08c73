// SPDX-License-Identifier: Apache-2.0
// A plain loop device over a sparse file, for tests of what works on any block device. Cleans up even when the test fails.
import { mkdtemp, mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { readMounts } from '../../src/attach/mounts.js';
import { run } from '../../src/exec/run.js';

export interface LoopDisk {
  device: string;
  file: string;
  /** An empty directory to mount on. */
  mountPoint: string;
  /** A scratch directory that goes away with the disk. */
  directory: string;
  /** What the host spends on the file, after everything was written back. */
  hostBytes(): Promise<number>;
  /** Makes file and device larger. */
  grow(sizeBytes: number): Promise<void>;
}

export async function withLoopDisk<T>(sizeBytes: number, work: (disk: LoopDisk) => Promise<T>): Promise<T> {
  // Not in tmpfs: holes and direct I/O are wanted.
  const directory = await mkdtemp('/var/tmp/ploop-test-');
  const file = join(directory, 'disk.raw');
  const mountPoint = join(directory, 'mnt');
  let device: string | undefined;
  try {
    await mkdir(mountPoint);
    await writeFile(file, '');
    await truncate(file, sizeBytes);
    device = (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim();
    const made = device;
    const hostBytes = async (): Promise<number> => {
      await run('sync', [made, file]);
      return (await stat(file)).blocks * 512;
    };
    const grow = async (largerBytes: number): Promise<void> => {
      await truncate(file, largerBytes);
      await run('losetup', ['--set-capacity', made]);
    };
    return await work({ device, file, mountPoint, directory, hostBytes, grow });
  } finally {
    const mounts = (await readMounts()).filter((entry) => entry.mountPoint.startsWith(`${directory}/`));
    for (const { mountPoint: path } of mounts.toReversed()) await run('umount', [path], { accept: 'any' });
    if (device !== undefined) await run('losetup', ['--detach', device], { accept: 'any' });
    await rm(directory, { recursive: true, force: true });
  }
}
