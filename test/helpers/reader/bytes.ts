// SPDX-License-Identifier: Apache-2.0
// FMT-001, FMT-002, FMT-005: integers, checksums, and a file that reads as zeros beyond its end.
import { closeSync, openSync, readSync } from 'node:fs';

/** What the document says must be rejected. */
export class Rejected extends Error {
  override readonly name = 'Rejected';
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

export function crc32c(start: number, bytes: Uint8Array): number {
  let register = (start ^ 0xffffffff) >>> 0;
  for (const byte of bytes) register = (register >>> 8) ^ (TABLE[(register ^ byte) & 0xff] ?? 0);
  return (register ^ 0xffffffff) >>> 0;
}

export function u32(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset);
}

export function u64(bytes: Buffer, offset: number): bigint {
  return bytes.readBigUInt64LE(offset);
}

/** For counts, and places that end soon after; nothing legal here is beyond 2^53. */
export function place(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Rejected(`${what}: ${value}`);
  return Number(value);
}

/** For places of pages, which may be far away: a multiple of 4096 below 2^62 is exact as a number, too. */
export function farPlace(value: bigint, what: string): number {
  if (value % 4096n !== 0n || value >= 2n ** 62n) throw new Rejected(`${what}: ${value}`);
  return Number(value);
}

export class LayerFile {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'r');
  }

  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const count = readSync(this.#fd, bytes, done, length - done, BigInt(offset) + BigInt(done));
      if (count === 0) break;
      done += count;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export const PAGE = 4096;
export const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);
