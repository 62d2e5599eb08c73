// SPDX-License-Identifier: Apache-2.0
// Packing an image that has layers below, as every container made from a template and every image with snapshots has:
// what the writable layer holds moves together, what layers below show stays where it is.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { changeSettings } from '../../src/attach/settings.js';
import { compactImage } from '../../src/filesystem/image/compact.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { consistentSnapshot } from '../../src/filesystem/image/snapshot.js';
import { measureSpace } from '../../src/filesystem/space/measure.js';
import { ageFileSystem, fingerprints } from './aging.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('packing above a snapshot', () => {
  const age = async (name: string, seed: number, percents: { fullPercent: number; finalPercent: number }): Promise<string[]> => {
    const folder = join(scratch.mountPoint, name);
    await mkdir(folder);
    return ageFileSystem(folder, { seed, generations: 3, ...percents });
  };

  it('empties clusters of the writable layer and leaves alone what the snapshot shows', async () => {
    const { image, mountPoint, runDir } = scratch;
    await newImage(image, { sizeBytes: 384 * MIB });
    await changeSettings(image, { discard: 'cluster', runDir });
    await mountImage(image, { mountPoint, runDir });
    const old = await age('old', 1, { fullPercent: 50, finalPercent: 30 });
    await consistentSnapshot(image, { runDir });
    const files = [...old, ...(await age('new', 2, { fullPercent: 80, finalPercent: 60 }))];
    const before = fingerprints(files);
    await compactImage(image, { runDir, pack: false });
    const { space: trimmed } = await measureSpace(image, { runDir });

    const { steps } = await compactImage(image, { runDir });
    const packed = steps.find(({ step }) => step === 'pack');
    const { space } = await measureSpace(image, { runDir });

    expect(fingerprints(files)).toEqual(before);
    expect(packed).toMatchObject({ skipped: null, stopped: 'done' });
    expect(packed?.movedBytes).toBeGreaterThan(MIB);
    expect(trimmed.hostBytes - space.hostBytes).toBeGreaterThan(0.8 * (trimmed.packBytes ?? 0));
    expect(space.packBytes).toBeLessThan(0.1 * space.topBytes);
    // Bitmaps and inode tables are written anew by it, and nothing else.
    expect(trimmed.sharedBytes).toBeGreaterThan(60 * MIB);
    expect(space.sharedBytes).toBeGreaterThan(trimmed.sharedBytes - 2 * MIB);
    // Where all is packed already, it says so and moves nothing.
    const again = (await compactImage(image, { runDir })).steps.find(({ step }) => step === 'pack');
    expect(again?.movedBytes).toBeLessThan(MIB);
  });
});
