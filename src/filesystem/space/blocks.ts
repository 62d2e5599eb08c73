// SPDX-License-Identifier: Apache-2.0
// Bitmaps of blocks: what the image has host space for, against what the file system uses.
import { BLOCKS_PER_PAGE, type SpacePage } from '../../attach/space.js';
import type { Extent } from './extent.js';

const PAGE_BYTES = BLOCKS_PER_PAGE / 8;
const CLUSTER_BYTES = 8;

/** How many bits of a byte are set. */
const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let bits = 0;
  for (let rest = byte; rest > 0; rest >>= 1) bits += rest & 1;
  return bits;
});

/** Free extents as bitmaps of the image's blocks, page by page in order. */
export class FreeMap {
  readonly #extents: readonly Extent[];
  #at = 0;

  constructor(extents: readonly Extent[]) {
    this.#extents = extents;
  }

  /** A bit for each block of the page that lies wholly in free space. Pages must be asked for in order. */
  page({ page, blockSizeBytes }: Pick<SpacePage, 'page' | 'blockSizeBytes'>): Uint8Array {
    const bitmap = new Uint8Array(PAGE_BYTES);
    const base = page * BLOCKS_PER_PAGE;
    const start = base * blockSizeBytes;
    const end = start + BLOCKS_PER_PAGE * blockSizeBytes;
    while ((this.#extents[this.#at]?.[1] ?? Infinity) <= start) this.#at++;
    for (let at = this.#at; (this.#extents[at]?.[0] ?? Infinity) < end; at++) {
      const [from, to] = this.#extents[at] ?? [0, 0];
      const first = Math.max(0, Math.ceil(from / blockSizeBytes) - base);
      const after = Math.min(BLOCKS_PER_PAGE, Math.floor(to / blockSizeBytes) - base);
      setBits(bitmap, first, after);
    }
    return bitmap;
  }

  /** Free bytes in blocks that the top has data for and that are used in part. For the page asked for last. */
  partlyFree({ page, masks, blockSizeBytes }: SpacePage): number {
    const start = page * BLOCKS_PER_PAGE * blockSizeBytes;
    const end = start + BLOCKS_PER_PAGE * blockSizeBytes;
    let bytes = 0;
    // Of [from, to), which is within one block.
    const add = (from: number, to: number): void => {
      const block = Math.floor((from - start) / blockSizeBytes);
      if (from >= start && from < end && ((masks[block >> 3] ?? 0) & (1 << (block & 7))) !== 0) bytes += to - from;
    };
    for (let at = this.#at; (this.#extents[at]?.[0] ?? Infinity) < end; at++) {
      const [from, to] = this.#extents[at] ?? [0, 0];
      const first = Math.ceil(from / blockSizeBytes) * blockSizeBytes;
      const last = Math.floor(to / blockSizeBytes) * blockSizeBytes;
      if (from < first) add(from, Math.min(to, first));
      if (to > last && last >= first) add(last, to);
    }
    return bytes;
  }
}

function setBits(bitmap: Uint8Array, first: number, after: number): void {
  let bit = first;
  for (; bit < after && bit % 8 !== 0; bit++) setBit(bitmap, bit);
  if (bit >= after) return;
  bitmap.fill(0xff, bit / 8, Math.floor(after / 8));
  for (bit = Math.max(bit, Math.floor(after / 8) * 8); bit < after; bit++) setBit(bitmap, bit);
}

function setBit(bitmap: Uint8Array, bit: number): void {
  bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
}

export interface BlockCounts {
  /** Blocks that the top has data for; those of them that the file system does not use. */
  top: number;
  topFree: number;
  /** Blocks whose data a layer below shows; those of them that the file system does not use. */
  below: number;
  belowFree: number;
  /** Clusters of the top with data; those left when what is free is gone. */
  clusters: number;
  clustersUsed: number;
}

export const NO_BLOCKS: BlockCounts = { top: 0, topFree: 0, below: 0, belowFree: 0, clusters: 0, clustersUsed: 0 };

/** Counts bytes [from, to) of the page's bitmaps: whole clusters when both are multiples of 8. */
export function countBlocks({ masks }: SpacePage, free: Uint8Array | null, from = 0, to = PAGE_BYTES): BlockCounts {
  const counts = { ...NO_BLOCKS };
  for (let cluster = from; cluster < to; cluster += CLUSTER_BYTES) {
    let data = 0;
    let used = 0;
    for (let at = cluster; at < Math.min(to, cluster + CLUSTER_BYTES); at++) {
      const unused = free?.[at] ?? 0;
      const [top, below] = [masks[at] ?? 0, masks[PAGE_BYTES + at] ?? 0];
      data += BITS[top] ?? 0;
      used += BITS[top & ~unused] ?? 0;
      counts.below += BITS[below] ?? 0;
      counts.belowFree += BITS[below & unused] ?? 0;
    }
    counts.top += data;
    counts.topFree += data - used;
    if (data > 0) counts.clusters++;
    if (used > 0) counts.clustersUsed++;
  }
  return counts;
}

export function addCounts(a: BlockCounts, b: BlockCounts): BlockCounts {
  return {
    top: a.top + b.top,
    topFree: a.topFree + b.topFree,
    below: a.below + b.below,
    belowFree: a.belowFree + b.belowFree,
    clusters: a.clusters + b.clusters,
    clustersUsed: a.clustersUsed + b.clustersUsed,
  };
}
