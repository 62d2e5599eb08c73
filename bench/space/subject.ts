// SPDX-License-Identifier: Apache-2.0
// Who grows old: one of our images, or qcow2 behind qemu-storage-daemon; each with the same ext4 mounted from it.
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { changeSettings } from '../../src/attach/settings.js';
import { run } from '../../src/exec/run.js';
import { compactImage, type CompactImageOptions, type CompactedImage } from '../../src/filesystem/image/compact.js';
import { hostBytes } from '../../src/filesystem/image/compact-step.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { makeFileSystem } from '../../src/filesystem/make.js';
import { mountFileSystem } from '../../src/filesystem/mount.js';
import { unmountFileSystem } from '../../src/filesystem/unmount.js';
import type { DiscardPolicy } from '../../src/native/index.js';
import { createQcow2, exported } from '../contender/qcow2.js';
import { type Owners, spaceOwners } from './owners.js';

export interface Subject {
  name: string;
  mountPoint: string;
  hostBytes(): Promise<number>;
  /** undefined: it has fstrim only. */
  compact: ((options?: CompactImageOptions) => Promise<CompactedImage>) | undefined;
  /** Whose the host bytes are; undefined: not known. */
  owners: ((hostBytes: number) => Promise<Owners>) | undefined;
  /** Unmounted and mounted again: what is read then comes from the disk. Checks the file system in between. */
  remount(): Promise<void>;
  close(): Promise<void>;
}

export interface OurOptions {
  name: string;
  folder: string;
  runDir: string;
  sizeBytes: number;
  blockSizeBytes: number;
  discard: DiscardPolicy;
}

export async function ourImage({ name, folder, runDir, sizeBytes, blockSizeBytes, discard }: OurOptions): Promise<Subject> {
  const dir = join(folder, `image-${blockSizeBytes}-${discard}`);
  const mountPoint = `${dir}.mnt`;
  await mkdir(mountPoint);
  await newImage(dir, { sizeBytes, blockSizeBytes, fs: 'ext4', runDir });
  await changeSettings(dir, { discard, runDir });
  const { device } = await mountImage(dir, { mountPoint, runDir });
  return {
    name,
    mountPoint,
    hostBytes: async () => {
      await run('sync', ['-f', mountPoint]);
      await run('sync', [device]);
      return hostBytes(dir);
    },
    compact: (options = {}) => compactImage(dir, { runDir, ...options }),
    owners: (bytes) => spaceOwners({ dir, runDir, mountPoint, device, hostBytes: bytes, whole: discard === 'cluster' }),
    remount: async () => {
      await unmountFileSystem(mountPoint);
      await run('e2fsck', ['-f', '-n', device]);
      await mountFileSystem(device, mountPoint, { type: 'ext4' });
    },
    close: async () => {
      await unmountImage(dir, { runDir });
    },
  };
}

/** The same ext4 on qcow2. Its loop device does without direct I/O: with it, QEMU 7.2 mixes data up. */
export async function qcow2Image({ folder, sizeBytes }: Pick<OurOptions, 'folder' | 'sizeBytes'>): Promise<Subject> {
  const file = join(folder, 'disk.qcow2');
  const mountPoint = join(folder, 'qcow2.mnt');
  await mkdir(mountPoint);
  await createQcow2(file, sizeBytes);
  let disk = await exported(folder, file, null, true);
  const mount = async (): Promise<void> => void (await mountFileSystem(disk.device, mountPoint, { type: 'ext4' }));
  try {
    await makeFileSystem(disk.device, { type: 'ext4', sizeBytes });
    await mount();
  } catch (error) {
    await disk.close();
    throw error;
  }
  return {
    name: 'qcow2 (128 KiB clusters, extended L2)',
    mountPoint,
    hostBytes: async () => {
      await run('sync', ['-f', mountPoint]);
      await run('sync', [disk.device, file]);
      return (await stat(file)).blocks * 512;
    },
    compact: undefined,
    owners: undefined,
    remount: async () => {
      await unmountFileSystem(mountPoint);
      // Another daemon: nothing comes from a cache.
      await disk.close();
      disk = await exported(folder, file, null, true);
      await run('e2fsck', ['-f', '-n', disk.device]);
      await mount();
    },
    close: async () => {
      await unmountFileSystem(mountPoint);
      await disk.close();
    },
  };
}
