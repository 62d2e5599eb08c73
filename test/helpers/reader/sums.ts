// SPDX-License-Identifier: Apache-2.0
// FMT-120 to FMT-125: the block checksums of a sealed layer.
import { crc32c, PAGE, Rejected, u32, u64 } from './bytes.js';
import type { Layer } from './layer.js';

/** The sum of block `number` of host cluster `where`; undefined when the table does not cover it. */
export type Sums = (where: bigint, number: number) => number | undefined;

/** undefined: the layer has none. */
export function readSums({ file, header }: Layer): Sums | undefined {
  if ((header.autoClear & 1n) === 0n) return undefined;
  const { sumsOff, sumsPages, firstCluster, clusterSize } = header;
  const cluster = sumsOff / BigInt(clusterSize);
  if (sumsOff % BigInt(clusterSize) !== 0n || cluster < BigInt(firstCluster) || cluster >= 2n ** 40n || sumsPages === 0n) {
    throw new Rejected('block checksums: place');
  }
  const pages = Array.from({ length: Number(sumsPages) }, (_, n) => checked(file.read(Number(sumsOff) + n * PAGE, PAGE), n));
  return (where, number) => {
    const index = Number(where) - firstCluster;
    const page = pages[Math.floor(index / 15)];
    return page === undefined ? undefined : u32(page, 4 * ((index % 15) * 64 + number));
  };
}

function checked(page: Buffer, number: number): Buffer {
  const crc = crc32c(crc32c(0, page.subarray(0, 4080)), page.subarray(4084));
  if (page.toString('latin1', 4084, 4088) !== 'PLBS' || u64(page, 4088) !== BigInt(number) || u32(page, 4080) !== crc) {
    throw new Rejected(`block checksums: page ${number}`);
  }
  return page;
}
