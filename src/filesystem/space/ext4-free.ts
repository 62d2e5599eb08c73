// SPDX-License-Identifier: Apache-2.0
// The free blocks of an ext4 that is not mounted, from its block bitmaps. Reads nothing but metadata, changes nothing.

import type { Extent } from './extent.js';

/** Reads bytes of the disk; offset and length multiples of 512. */
export type ReadDisk = (offset: number, length: number) => Promise<Buffer>;

const SUPERBLOCK_AT = 1024;
const INCOMPAT_RECOVER = 0x4;
const INCOMPAT_META_BG = 0x10;
const INCOMPAT_64BIT = 0x80;
const RO_SPARSE_SUPER = 0x1;
const RO_BIGALLOC = 0x200;
const BLOCK_UNINIT = 0x2;

interface Geometry {
  blockSize: number;
  blocks: number;
  firstBlock: number;
  perGroup: number;
  inodeTableBlocks: number;
  descriptorBytes: number;
  descriptorBlocks: number;
  reservedBlocks: number;
  wide: boolean;
  sparse: boolean;
}

/** null: the bitmaps do not tell (the journal has to be replayed first, or a layout that this does not read). */
export async function ext4FreeExtents(read: ReadDisk): Promise<Extent[] | null> {
  const g = geometryOf((await read(0, 4096)).subarray(SUPERBLOCK_AT, SUPERBLOCK_AT + 1024));
  if (g === null) return null;
  const groups = Math.ceil((g.blocks - g.firstBlock) / g.perGroup);
  const table = await read((g.firstBlock + 1) * g.blockSize, Math.ceil((groups * g.descriptorBytes) / 4096) * 4096);
  const found = new Collector(g.blockSize);
  for (let group = 0; group < groups; group++) {
    const descriptor = table.subarray(group * g.descriptorBytes, (group + 1) * g.descriptorBytes);
    const first = g.firstBlock + group * g.perGroup;
    const count = Math.min(g.perGroup, g.blocks - first);
    const uninit = (descriptor.readUInt16LE(0x12) & BLOCK_UNINIT) !== 0;
    const bitmap = uninit ? freshBitmap(g, group, descriptor) : await readBitmap(g, descriptor, read);
    for (let block = 0; block < count; block++) {
      if (((bitmap[block >> 3] ?? 0xff) & (1 << (block & 7))) === 0) found.add(first + block);
    }
  }
  return found.extents();
}

function geometryOf(sb: Buffer): Geometry | null {
  const incompat = sb.readUInt32LE(0x60);
  const readOnly = sb.readUInt32LE(0x64);
  if ((incompat & (INCOMPAT_RECOVER | INCOMPAT_META_BG)) !== 0 || (readOnly & RO_BIGALLOC) !== 0) return null;
  const blockSize = 1024 * 2 ** Math.min(sb.readUInt32LE(0x18), 6);
  const wide = (incompat & INCOMPAT_64BIT) !== 0;
  const blocks = sb.readUInt32LE(0x04) + (wide ? sb.readUInt32LE(0x150) * 2 ** 32 : 0);
  const firstBlock = sb.readUInt32LE(0x14);
  const perGroup = sb.readUInt32LE(0x20);
  if (blockSize < 4096 || perGroup === 0 || perGroup > blockSize * 8 || blocks <= firstBlock) return null;
  const descriptorBytes = wide ? Math.max(sb.readUInt16LE(0xfe), 32) : 32;
  return {
    blockSize,
    blocks,
    firstBlock,
    perGroup,
    inodeTableBlocks: Math.ceil((sb.readUInt32LE(0x28) * sb.readUInt16LE(0x58)) / blockSize),
    descriptorBytes,
    descriptorBlocks: Math.ceil((Math.ceil((blocks - firstBlock) / perGroup) * descriptorBytes) / blockSize),
    reservedBlocks: sb.readUInt16LE(0xce),
    wide,
    sparse: (readOnly & RO_SPARSE_SUPER) !== 0,
  };
}

function place(g: Geometry, descriptor: Buffer, low: number, high: number): number {
  return descriptor.readUInt32LE(low) + (g.wide && descriptor.length >= 64 ? descriptor.readUInt32LE(high) * 2 ** 32 : 0);
}

async function readBitmap(g: Geometry, descriptor: Buffer, read: ReadDisk): Promise<Buffer> {
  return read(place(g, descriptor, 0x00, 0x20) * g.blockSize, g.blockSize);
}

/** A group whose bitmap was never written: only what mkfs put there is in use. */
function freshBitmap(g: Geometry, group: number, descriptor: Buffer): Buffer {
  const bitmap = Buffer.alloc(Math.ceil(g.perGroup / 8));
  const first = g.firstBlock + group * g.perGroup;
  const use = (block: number, count: number): void => {
    for (let at = Math.max(0, block - first); at < Math.min(g.perGroup, block - first + count); at++) {
      bitmap[at >> 3] = (bitmap[at >> 3] ?? 0) | (1 << (at & 7));
    }
  };
  if (!g.sparse || hasSuperblock(group)) use(first, 1 + g.descriptorBlocks + g.reservedBlocks);
  use(place(g, descriptor, 0x00, 0x20), 1);
  use(place(g, descriptor, 0x04, 0x24), 1);
  use(place(g, descriptor, 0x08, 0x28), g.inodeTableBlocks);
  return bitmap;
}

function hasSuperblock(group: number): boolean {
  if (group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

/** Joins blocks that come in order. */
class Collector {
  readonly #extents: [number, number][] = [];
  readonly #blockSize: number;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
  }

  add(block: number): void {
    const start = block * this.#blockSize;
    const last = this.#extents.at(-1);
    if (last !== undefined && last[1] === start) last[1] += this.#blockSize;
    else this.#extents.push([start, start + this.#blockSize]);
  }

  extents(): Extent[] {
    return this.#extents;
  }
}
