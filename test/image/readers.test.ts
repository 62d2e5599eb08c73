// SPDX-License-Identifier: Apache-2.0
// The cache of open readers: bounded, closes what falls out, never shows an image as it was before.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createImage } from '../../src/image/create.js';
import { ReaderCache } from '../../src/image/readers.js';
import { native } from '../../src/native/index.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const MIB = 2 ** 20;

let scratch: Scratch;
let dirs: string[];

beforeEach(async () => {
  scratch = await makeScratch();
  dirs = ['a', 'b', 'c'].map((name) => scratch.path(name));
  await Promise.all(dirs.map((dir) => createImage(dir, { sizeBytes: MIB })));
});
afterEach(() => scratch.clean());

const locked = (dir: string | undefined): Promise<boolean> => native.isLocked(`${dir}/lock`, { shared: true });

describe('reader cache', () => {
  it('keeps at most so many open and closes the one not used for longest', async () => {
    await using cache = new ReaderCache({ max: 2 });
    for (const dir of dirs) expect(await cache.read(dir, { offset: 0, length: 4096 })).toHaveLength(4096);
    expect(cache.size).toBe(2);
    await expect.poll(() => Promise.all(dirs.map(locked))).toEqual([false, true, true]);
  });

  it('serves reads in flight of images that fall out meanwhile', async () => {
    await using cache = new ReaderCache({ max: 1 });
    const reads = Array.from({ length: 30 }, (_, at) => cache.read(dirs[at % 3] ?? '', { offset: 0, length: MIB }));
    for (const read of reads) expect((await read).length).toBe(MIB);
  });

  it('lets an image go that nobody reads', async () => {
    await using cache = new ReaderCache({ idleMs: 50 });
    await cache.read(dirs[0] ?? '', { offset: 0, length: 512 });
    await expect.poll(() => locked(dirs[0])).toBe(false);
    await native.snapshot(dirs[0] ?? '');
  });

  it('opens an image again that has changed, and reads snapshots', async () => {
    await using cache = new ReaderCache({ idleMs: 20 });
    const [dir = ''] = dirs;
    await cache.read(dir, { offset: 0, length: 512 });
    await expect.poll(() => locked(dir)).toBe(false);
    await native.snapshot(dir, { name: 'small' });
    await native.resize(dir, 2 * MIB);
    expect(await cache.read(dir, { offset: MIB, length: 512 })).toHaveLength(512);
    await expect(cache.read(dir, { offset: MIB, length: 512, snapshot: 'small' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('closes everything and takes no more', async () => {
    const cache = new ReaderCache();
    const read = cache.read(dirs[0] ?? '', { offset: 0, length: MIB });
    await read;
    await Promise.all([cache.close(), cache.close()]);
    expect(await locked(dirs[0])).toBe(false);
    await expect(cache.read(dirs[0] ?? '', { offset: 0, length: 512 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('does not keep a failure', async () => {
    await using cache = new ReaderCache();
    const later = scratch.path('later');
    await expect(cache.read(later, { offset: 0, length: 512 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await createImage(later, { sizeBytes: MIB });
    expect(await cache.read(later, { offset: 0, length: 512 })).toHaveLength(512);
  });
});
