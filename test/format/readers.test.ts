// SPDX-License-Identifier: Apache-2.0
// Two readers, one written from docs/format.md alone, on images of every kind: both show what was written, block for block and
// extent for extent.
import { cpSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { native, type NativeExtent } from '../../src/native/index.js';
import { expectedBytes, LOOK_BYTES, sampleDisks, SAMPLES, writeSamples } from '../helpers/samples.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { crc32c } from '../helpers/reader/bytes.js';
import { PlainReader } from '../helpers/reader/image.js';
import { readSums } from '../helpers/reader/sums.js';

let scratch: Scratch;

beforeAll(async () => {
  scratch = await makeScratch();
  await writeSamples(scratch.directory);
});
afterAll(() => scratch.clean());

async function nativeBytes(directory: string, snapshot: string | null): Promise<Buffer> {
  await using reader = await native.openReader(directory, snapshot === null ? {} : { snapshot });
  return reader.read(0, Math.min(reader.size, LOOK_BYTES));
}

async function nativeExtents(directory: string, snapshot: string | null): Promise<NativeExtent[]> {
  const options = { length: LOOK_BYTES, ...(snapshot === null ? {} : { snapshot }) };
  const { extents, next } = await native.map(directory, options);
  expect(next).toBeNull();
  return extents;
}

describe.each(SAMPLES)('%s', (name) => {
  const disks = () => sampleDisks(scratch.directory, name);
  const directory = () => scratch.path(name);

  it('shows what was written, to the plain reader (FMT-060)', () => {
    for (const disk of disks()) {
      using reader = new PlainReader(directory(), disk.snapshot ?? undefined);
      expect(reader.size).toBe(disk.size);
      expect(reader.read(0, Math.min(disk.size, LOOK_BYTES)).equals(expectedBytes(disk))).toBe(true);
    }
  });

  it('shows the same to the C core', async () => {
    for (const disk of disks()) expect((await nativeBytes(directory(), disk.snapshot)).equals(expectedBytes(disk))).toBe(true);
  });

  it('has the same owners and places for both (FMT-020)', async () => {
    for (const { snapshot } of disks()) {
      using reader = new PlainReader(directory(), snapshot ?? undefined);
      expect(reader.extents(0, LOOK_BYTES)).toEqual(await nativeExtents(directory(), snapshot));
    }
  });

  it('is whole to a check, and shows the same after a writer has opened and closed it (FMT-043)', async () => {
    const copy = scratch.path(`${name}-copy`);
    cpSync(directory(), copy, { recursive: true });
    expect((await native.check(copy)).findings).toEqual([]);
    await native.compact(copy);
    for (const disk of disks()) {
      using reader = new PlainReader(copy, disk.snapshot ?? undefined);
      expect(reader.read(0, Math.min(disk.size, LOOK_BYTES)).equals(expectedBytes(disk))).toBe(true);
    }
    expect((await native.check(copy)).findings).toEqual([]);
  });
});

describe('block checksums', () => {
  it('are those of every owned block with data, in sealed layers only (FMT-124)', () => {
    using reader = new PlainReader(scratch.path('checksums'));
    const [base, top] = reader.layers;
    const sums = base && readSums(base);
    expect(top && readSums(top)).toBeUndefined();
    let compared = 0;
    for (let block = 0n; block * 4096n < BigInt(reader.size); block++) {
      const place = base?.place(block);
      if (base === undefined || typeof place !== 'number') continue;
      const where = BigInt(Math.floor(place / (64 * 4096)));
      expect(sums?.(where, Number(block % 64n))).toBe(crc32c(0, base.bytes(place)));
      compared++;
    }
    expect(compared).toBeGreaterThan(40);
  });
});
