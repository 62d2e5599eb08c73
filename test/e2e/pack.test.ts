// SPDX-License-Identifier: Apache-2.0
// Packing a mounted ext4: what it would bring, what it brings, and that nothing of the files changes.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdir } from 'node:fs/promises';

import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { packFileSystem } from '../../src/filesystem/pack.js';
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
