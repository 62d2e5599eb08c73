// SPDX-License-Identifier: Apache-2.0
// What the superblock of an unmounted file system says must be what the kernel says of the same, mounted.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { growFileSystem } from '../../src/filesystem/grow.js';
import { makeFileSystem } from '../../src/filesystem/make.js';
import { mountFileSystem } from '../../src/filesystem/mount.js';
import { parseSuperblock } from '../../src/filesystem/superblock.js';
import type { FileSystemType } from '../../src/filesystem/type.js';
import { unmountFileSystem } from '../../src/filesystem/unmount.js';
import { fileSystemUsage, readSuperblock, usageOf, type FileSystemUsage } from '../../src/filesystem/usage.js';
import { withLoopDisk, type LoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;

async function unmounted(device: string): Promise<FileSystemUsage> {
  return usageOf((await readSuperblock(device))!);
}

async function mounted(disk: LoopDisk, type: FileSystemType): Promise<FileSystemUsage> {
  await mountFileSystem(disk.device, disk.mountPoint, { type });
  const usage = await fileSystemUsage(disk.mountPoint);
  await unmountFileSystem(disk.mountPoint);
  return usage;
}

describe.skipIf(lacks('root', 'loop', 'ext4', 'xfs'))('usage of a file system', () => {
  it.each([320, 1024, 20480])('is the same for ext4 of %d MiB, mounted or not', async (sizeMib) => {
    await withLoopDisk(sizeMib * MIB, async (disk) => {
      await makeFileSystem(disk.device, { type: 'ext4', sizeBytes: sizeMib * MIB, fresh: true });
      const before = await unmounted(disk.device);
      expect(before).toEqual({ ...(await mounted(disk, 'ext4')), source: 'superblock' });
    });
  });

  it.each([
    [400, 800],
    [1024, 20480],
    [400, 102400],
  ])('is the same for ext4 that resize2fs has grown from %d to %d MiB', async (fromMib, toMib) => {
    await withLoopDisk(fromMib * MIB, async (disk) => {
      await makeFileSystem(disk.device, { type: 'ext4', sizeBytes: fromMib * MIB, fresh: true });
      await disk.grow(toMib * MIB);
      await growFileSystem(disk.device, { type: 'ext4' });
      const before = await unmounted(disk.device);
      expect(before).toEqual({ ...(await mounted(disk, 'ext4')), source: 'superblock' });
    });
  });

  it.each(['ext4', 'xfs'] as const)('of %s grows with what is written', async (type) => {
    await withLoopDisk(320 * MIB, async (disk) => {
      await makeFileSystem(disk.device, { type, sizeBytes: 320 * MIB, fresh: true });
      const empty = await unmounted(disk.device);
      await mountFileSystem(disk.device, disk.mountPoint, { type });
      await writeFile(join(disk.mountPoint, 'f'), Buffer.alloc(30 * MIB, 1));
      await unmountFileSystem(disk.mountPoint);
      const written = (await unmounted(disk.device)).usedBytes - empty.usedBytes;
      expect(Math.abs(written - 30 * MIB)).toBeLessThan(4 * MIB);
    });
  });
});

describe('a superblock', () => {
  it('is not seen where there is none', () => {
    expect(parseSuperblock(Buffer.alloc(4096))).toBeUndefined();
    expect(parseSuperblock(Buffer.alloc(512))).toBeUndefined();
  });

  it('full of ones does no harm', () => {
    const disk = Buffer.alloc(4096, 0xff);
    disk.writeUInt16LE(0xef53, 1024 + 0x38);
    expect(parseSuperblock(disk)).toMatchObject({ type: 'ext4' });
    disk.write('XFSB');
    expect(parseSuperblock(disk)).toMatchObject({ type: 'xfs' });
  });
});
