// SPDX-License-Identifier: Apache-2.0
// What is free and still costs the host space is named, and a trim of just that gives it back.
import { mkdir, rm, writeFile } from 'node:fs/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { changeSettings } from '../../src/attach/settings.js';
import { findAttachment } from '../../src/attach/attachments.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { reclaimable } from '../../src/filesystem/space/reclaimable.js';
import { syncFileSystem } from '../../src/filesystem/sync.js';
import { trimFileSystem } from '../../src/filesystem/trim.js';
import { hostBytes } from './device.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const MIB = 2 ** 20;
const FILES = 64;

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('what was freed since a trim', () => {
  let scratch: Scratch;
  let dir: string;
  let mountPoint: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    dir = scratch.path('image');
    mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
  });
  afterEach(() => scratch.clean());

  /** Files of 256 KiB, of which every second one goes. */
  async function writeAndDelete(): Promise<void> {
    for (let at = 0; at < FILES; at++) await writeFile(`${mountPoint}/f${at}`, Buffer.alloc(MIB / 4, at + 1));
    await syncFileSystem(mountPoint);
    for (let at = 0; at < FILES; at += 2) await rm(`${mountPoint}/f${at}`);
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
    await writeAndDelete();
    const { ranges, bytes } = await freed('block');
    expect(bytes).toBe((FILES / 2) * (MIB / 4));
    const before = await hostBytes(dir);
    const { calls } = await trimFileSystem(mountPoint, { ranges });
    expect(calls).toBe(ranges.length);
    expect(before - (await hostBytes(dir))).toBeGreaterThanOrEqual(bytes);
    expect((await freed('block')).ranges).toEqual([]);
    expect((await freed('off')).ranges).toEqual([]);
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
