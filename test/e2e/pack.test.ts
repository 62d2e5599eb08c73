// SPDX-License-Identifier: Apache-2.0
// Packing a mounted ext4: what it would bring, what it brings, and that nothing of the files changes.
import { statfsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { attachImage } from '../../src/attach/ploopd.js';
import { changeSettings } from '../../src/attach/settings.js';
import { run } from '../../src/exec/run.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { packFileSystem } from '../../src/filesystem/pack.js';
import { trimFileSystem } from '../../src/filesystem/trim.js';
import { ageFileSystem, fingerprints } from './aging.js';
import { hostBytes } from './device.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const MIB = 2 ** 20;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'xfs'))('packing a file system', () => {
  let scratch: Scratch;
  let mountPoint: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
  });
  afterEach(() => scratch.clean());

  it('finds nothing to do in a fresh one', async () => {
    await newImage(scratch.path('image'), { sizeBytes: 256 * MIB });
    await mountImage(scratch.path('image'), { mountPoint });
    const { before, after, stopped } = await packFileSystem(mountPoint, { unitBytes: MIB / 4 });
    expect({ stopped, after, moveBytes: before.moveBytes, files: before.files }).toEqual({
      stopped: 'done',
      after: undefined,
      moveBytes: 0,
      files: 0,
    });
  });

  it.each([
    { blockSize: 65_536, unitBytes: 4 * MIB },
    ...(process.env.PLOOP_PACK_KILLS === undefined ? [] : [{ blockSize: 4096, unitBytes: MIB / 4 }]),
  ])(
    'brings an aged image of $blockSize-byte blocks that discards by cluster to ten percent of smear',
    async ({ blockSize, unitBytes }) => {
      const image = scratch.path('image');
      await newImage(image, { sizeBytes: 640 * MIB, blockSizeBytes: blockSize });
      await changeSettings(image, { discard: 'cluster' });
      await mountImage(image, { mountPoint });
      const files = await ageFileSystem(mountPoint, { seed: 7, generations: 6, fullPercent: 80, finalPercent: 45 });
      const before = fingerprints(files);
      await trimFileSystem(mountPoint);
      const trimmedBytes = await hostBytes(image);

      const result = await packFileSystem(mountPoint, { unitBytes });
      await trimFileSystem(mountPoint);
      const packedBytes = await hostBytes(image);
      const { after = result.before } = result;
      process.stderr.write(
        `statfs ${JSON.stringify(statfsSync(mountPoint))} ${blockSize}-byte blocks: used ${after.usedBytes}, host ${trimmedBytes} trimmed, ${packedBytes} packed; ${JSON.stringify(result)}\n`,
      );
      expect(fingerprints(files)).toEqual(before);
      expect(result.stopped).toBe('done');
      // What is in use is counted right, before and after (the kernel leaves some of it out).
      expect(Math.abs(after.usedBytes - result.before.usedBytes)).toBeLessThan(4 * MIB);
      expect(after.heldBytes).toBeLessThanOrEqual(after.idealBytes * 1.1);
      expect(packedBytes).toBeLessThanOrEqual(after.usedBytes * 1.1);
      expect(fingerprints(files)).toEqual(before);

      await unmountImage(image);
      const { device } = await attachImage(image);
      await run('e2fsck', ['-fn', device ?? '']);
    },
  );

  it('refuses xfs, which has tools of its own', async () => {
    await newImage(scratch.path('image'), { sizeBytes: 512 * MIB, fs: 'xfs' });
    await mountImage(scratch.path('image'), { mountPoint });
    await expect(packFileSystem(mountPoint, { unitBytes: MIB / 4 })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('refuses a unit that is no multiple of the block size', async () => {
    await newImage(scratch.path('image'), { sizeBytes: 256 * MIB });
    await mountImage(scratch.path('image'), { mountPoint });
    await expect(packFileSystem(mountPoint, { unitBytes: 5000 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
