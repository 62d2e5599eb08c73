// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';

import { checkFileSystem } from '../../src/filesystem/check.js';
import { ext4Arguments, makeFileSystem } from '../../src/filesystem/make.js';
import { readSuperblock, usageOf } from '../../src/filesystem/usage.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

describe('choosing mkfs options', () => {
  it('keeps the journal of a 10 GiB disk at 16 MiB', () => {
    expect(ext4Arguments({ label: undefined, sizeBytes: 10 * GIB, fresh: true }, 1047)).toContain('size=16');
  });

  it('does not name features that an older mke2fs does not know', () => {
    const args = ext4Arguments({ label: undefined, sizeBytes: 10 * GIB, fresh: true }, 1046).join(' ');
    expect(args).not.toContain('orphan_file');
    expect(args).not.toContain('assume_storage_prezeroed');
    expect(args).toContain('lazy_itable_init=1');
  });

  it.each([
    ['ext4', 'a'.repeat(17), 'ext4 takes at most 16'],
    ['xfs', 'a'.repeat(13), 'xfs takes at most 12'],
  ] as const)('refuses a label that %s has no room for', async (type, label, message) => {
    await expect(makeFileSystem('/dev/null', { type, label, sizeBytes: GIB })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message) as string,
    });
  });

  it.each(['ext4', 'xfs'] as const)('refuses a disk that is too small for %s and says the least size', async (type) => {
    await expect(makeFileSystem('/dev/null', { type, sizeBytes: 8 * MIB })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/needs at least (16|300) MiB/) as string,
    });
  });
});

describe.skipIf(lacks('root', 'loop', 'ext4', 'xfs'))('making a file system', () => {
  it('costs less than 2 MiB of host space for ext4 on 10 GiB', async () => {
    await withLoopDisk(10 * GIB, async (disk) => {
      await makeFileSystem(disk.device, { type: 'ext4', sizeBytes: 10 * GIB, fresh: true });
      expect(await disk.hostBytes()).toBeLessThan(2 * MIB);
    });
  });

  it.each([
    ['ext4', 16 * MIB],
    ['ext4', 200 * MIB],
    ['ext4', 100 * GIB],
    ['ext4', 4096 * GIB],
    ['xfs', 300 * MIB],
    ['xfs', 100 * GIB],
  ] as const)(
    'makes a clean %s on a fresh disk of %d bytes, with its label',
    async (type, sizeBytes) => {
      await withLoopDisk(sizeBytes, async ({ device }) => {
        await makeFileSystem(device, { type, sizeBytes, fresh: true, label: 'a label' });
        expect(await checkFileSystem(device, { type })).toMatchObject({ clean: true });
        const superblock = await readSuperblock(device);
        expect(superblock).toMatchObject({ type, label: 'a label', totalBytes: expect.any(Number) as number });
        expect(usageOf(superblock!).usedBytes).toBeLessThan(sizeBytes * 0.1);
      });
    },
    60_000,
  );

  it.each(['ext4', 'xfs'] as const)('makes a clean %s on a disk that held something else', async (type) => {
    const sizeBytes = 320 * MIB;
    await withLoopDisk(sizeBytes, async ({ device }) => {
      await makeFileSystem(device, { type: type === 'xfs' ? 'ext4' : 'xfs', sizeBytes });
      await makeFileSystem(device, { type, sizeBytes });
      expect(await checkFileSystem(device, { type })).toMatchObject({ clean: true });
      expect(await readSuperblock(device)).toMatchObject({ type });
    });
  });
});
