// SPDX-License-Identifier: Apache-2.0
// What is free and still costs the host space is named, and a trim of just that gives it back.
import { unlinkSync, writeFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { changeSettings } from '../../src/attach/settings.js';
import { findAttachment } from '../../src/attach/attachments.js';
import { compactImage } from '../../src/filesystem/image/compact.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { reclaimable } from '../../src/filesystem/space/reclaimable.js';
import { syncFileSystem } from '../../src/filesystem/sync.js';
import { trimFileSystem } from '../../src/filesystem/trim.js';
import { hostBytes } from './device.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAndDelete } from './waste.js';

const MIB = 2 ** 20;
const FILES = 64;

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('what was freed since a trim', () => {
  let dir: string;
  let mountPoint: string;
  scratchPerTest((places) => void ({ image: dir, mountPoint } = places));

  /** Files of 256 KiB, of which every second one goes. */
  async function fileAndDelete(): Promise<void> {
    await writeAndDelete(mountPoint, { files: FILES, bytes: () => MIB / 4, stays: (at) => at % 2 === 1 });
    await syncFileSystem(mountPoint);
  }

  async function freed(discard: 'block' | 'cluster' | 'off'): Promise<{ ranges: (readonly [number, number])[]; bytes: number }> {
    const live = await findAttachment(dir);
    if (live === null) throw new Error('not attached');
    const ranges = await reclaimable(dir, live, { discard });
    return { ranges, bytes: ranges.reduce((sum, [from, to]) => sum + to - from, 0) };
  }

  it('is named block by block, and trimmed in as many calls', async () => {
    await newImage(dir, { sizeBytes: 256 * MIB });
    await mountImage(dir, { mountPoint });
    await fileAndDelete();
    const { ranges, bytes } = await freed('block');
    expect(bytes).toBe((FILES / 2) * (MIB / 4));
    const before = await hostBytes(dir);
    const { calls } = await trimFileSystem(mountPoint, { ranges });
    expect(calls).toBe(ranges.length);
    expect(before - (await hostBytes(dir))).toBeGreaterThanOrEqual(bytes);
    expect((await freed('block')).ranges).toEqual([]);
    expect((await freed('off')).ranges).toEqual([]);
  });

  it('goes with a compaction also when it was freed while that went on, behind its trim', async () => {
    await newImage(dir, { sizeBytes: 256 * MIB });
    await mountImage(dir, { mountPoint });
    const writeAndDeleteNow = (): void => {
      writeFileSync(`${mountPoint}/brief`, Buffer.alloc(8 * MIB, 5), { flush: true });
      unlinkSync(`${mountPoint}/brief`);
    };
    let wasted = 0;
    await compactImage(dir, {
      onStep: (step) => {
        if (step !== 'relocate') return;
        writeAndDeleteNow();
        wasted++;
      },
    });
    expect(wasted).toBe(1);
    await syncFileSystem(mountPoint);
    expect((await freed('block')).bytes).toBe(0);
  });

  it('is named only where whole clusters become empty, when those are what goes back', async () => {
    await newImage(dir, { sizeBytes: 256 * MIB });
    await changeSettings(dir, { discard: 'cluster' });
    await mountImage(dir, { mountPoint });
    // Four clusters, and then two blocks of which one stays.
    for (const [name, size] of [
      ['a', MIB],
      ['b', 4096],
      ['c', 4096],
    ] as const) {
      await writeFile(`${mountPoint}/${name}`, Buffer.alloc(size, 7));
      await syncFileSystem(mountPoint);
    }
    await rm(`${mountPoint}/a`);
    await rm(`${mountPoint}/c`);
    await syncFileSystem(mountPoint);
    const { ranges, bytes } = await freed('cluster');
    expect(bytes).toBeLessThanOrEqual(MIB);
    expect(bytes).toBeGreaterThanOrEqual(MIB / 2);
    expect((await freed('block')).bytes).toBeGreaterThan(bytes);
    await trimFileSystem(mountPoint, { ranges });
    expect((await freed('cluster')).ranges).toEqual([]);
  });
});
