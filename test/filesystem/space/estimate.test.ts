// SPDX-License-Identifier: Apache-2.0
// What trimming and packing could give back, on counted examples.
import { describe, expect, it } from 'vitest';

import { BLOCKS_PER_PAGE } from '../../../src/attach/space.js';
import { countBlocks, FreeMap } from '../../../src/filesystem/space/blocks.js';
import { heldBySnapshots, trimAndPack, type Measured } from '../../../src/filesystem/space/estimate.js';

const KIB = 1024;
const MASKS = (BLOCKS_PER_PAGE / 8) * 2;

/** The first `blocks` of a page are the top's; free as named. */
function measure(blocks: number, blockSizeBytes: number, free: [number, number][]): Pick<Measured, 'counts' | 'partlyFreeBytes'> {
  const masks = Buffer.alloc(MASKS);
  masks.fill(0xff, 0, blocks / 8);
  const page = { page: 0, masks, blockSizeBytes, sizeBytes: BLOCKS_PER_PAGE * blockSizeBytes };
  const map = new FreeMap(free);
  return { counts: countBlocks(page, map.page(page)), partlyFreeBytes: map.partlyFree(page) };
}

describe('what could be given back', () => {
  const whole = { discard: 'block', canPack: true, topHostBytes: Infinity } as const;

  it('is every free block with blocks of the file system, and packing adds nothing', () => {
    const found = measure(128, 4 * KIB, [[8 * KIB, 24 * KIB]]);
    expect(found.partlyFreeBytes).toBe(0);
    expect(trimAndPack({ ...found, ...whole, blockSizeBytes: 4 * KIB })).toEqual({ trimBytes: 16 * KIB, packBytes: 0 });
  });

  it('is what stands in larger blocks that are used in part, too, by packing', () => {
    // Blocks 0 to 7: one is free, four more are free but for 4 KiB each, beginning and end.
    const free: [number, number][] = [
      [0, 64 * KIB],
      [68 * KIB, 128 * KIB],
      [132 * KIB, 192 * KIB],
      [192 * KIB, 252 * KIB],
      [260 * KIB, 320 * KIB],
    ];
    const found = measure(8, 64 * KIB, free);
    expect(found.partlyFreeBytes).toBe(4 * 60 * KIB);
    expect(trimAndPack({ ...found, ...whole, blockSizeBytes: 64 * KIB })).toEqual({ trimBytes: 64 * KIB, packBytes: 3 * 64 * KIB });
    expect(trimAndPack({ ...found, ...whole, blockSizeBytes: 64 * KIB, canPack: false }).packBytes).toBe(0);
  });

  it('counts free space once that reaches over several blocks and over a page', () => {
    const end = BLOCKS_PER_PAGE * 64 * KIB;
    const found = measure(BLOCKS_PER_PAGE, 64 * KIB, [
      [4 * KIB, 200 * KIB],
      [end - 4 * KIB, end + 8 * KIB],
    ]);
    expect(found.counts.topFree).toBe(2);
    expect(found.partlyFreeBytes).toBe(60 * KIB + 8 * KIB + 4 * KIB);
  });

  it('is whole clusters with that policy, at most what the host spends beyond what is used, and nothing with none', () => {
    const free: [number, number][] = [
      [4 * KIB, 256 * KIB],
      [260 * KIB, 768 * KIB],
    ];
    const found = { ...measure(192, 4 * KIB, free), blockSizeBytes: 4 * KIB, canPack: true, discard: 'cluster' } as const;
    expect(trimAndPack({ ...found, topHostBytes: 768 * KIB })).toEqual({ trimBytes: 256 * KIB, packBytes: 256 * KIB });
    expect(trimAndPack({ ...found, topHostBytes: 300 * KIB })).toEqual({ trimBytes: 256 * KIB, packBytes: 36 * KIB });
    expect(trimAndPack({ ...found, topHostBytes: 768 * KIB, discard: 'off' })).toEqual({ trimBytes: 0, packBytes: 0 });
  });

  it('is held by snapshots where their layers have what is not used, also when the top hides it', () => {
    expect(heldBySnapshots(100, 0, 30)).toBe(70);
    expect(heldBySnapshots(100, 50, 80)).toBe(70);
    expect(heldBySnapshots(0, 50, 20)).toBe(0);
  });
});
