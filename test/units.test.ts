// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PloopError } from '../src/errors.js';
import { formatSize, MAX_SIZE_BYTES, parseSize } from '../src/units.js';

function refusal(word: string): PloopError {
  try {
    parseSize(word, '--size');
  } catch (error) {
    if (error instanceof PloopError) return error;
  }
  throw new Error(`'${word}' was accepted`);
}

describe('parseSize', () => {
  it.each([
    ['4096', 4096],
    ['1', 1],
    ['100B', 100],
    ['4K', 4096],
    ['4k', 4096],
    ['4KB', 4096],
    ['4KiB', 4096],
    ['4Ki', 4096],
    ['10G', 10 * 1024 ** 3],
    ['1.5G', 1.5 * 1024 ** 3],
    ['.5M', 512 * 1024],
    ['0.1G', 107374182],
    [' 512 MiB ', 512 * 1024 ** 2],
    ['+2T', 2 * 1024 ** 4],
    ['64T', MAX_SIZE_BYTES],
  ])('reads %s as %d bytes', (word, bytes) => {
    expect(parseSize(word)).toBe(bytes);
  });

  it.each(['', 'ten', 'NaN', 'Infinity', '1e9', '0x10', '10X', '10 G G', 'G', '1,5G', '1.G', '10Gx'])('refuses %j as no size', (word) => {
    expect(refusal(word).message).toBe(`--size: '${word}' is not a size`);
  });

  it('refuses zero, also what rounds to zero', () => {
    expect(refusal('0').message).toContain("'0' is 0");
    expect(refusal('0.0001K').message).toContain('is 0');
    expect(refusal('0G').message).toContain('at least 1 byte');
  });

  it('refuses a negative size', () => {
    expect(refusal('-1G').message).toContain("'-1G' is negative");
  });

  it('names the limit when a size is beyond it', () => {
    for (const word of ['65T', String(MAX_SIZE_BYTES + 1), '9'.repeat(400)])
      expect(refusal(word).message).toContain('beyond the limit of 64T');
  });

  it('says how to write a size, with code INVALID_ARGUMENT', () => {
    expect(refusal('x')).toMatchObject({ code: 'INVALID_ARGUMENT', hint: expect.stringContaining('10G') as string });
  });
});

describe('formatSize', () => {
  it.each([
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2 - 1, '1 MiB'],
    [1000 * 1024, '1000 KiB'],
    [10 * 1024 ** 3, '10 GiB'],
    [12.34 * 1024 ** 3, '12.3 GiB'],
    [1.005 * 1024 ** 4, '1 TiB'],
    [5000 * 1024 ** 4, '5000 TiB'],
    [-2048, '-2 KiB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it('writes what parseSize reads back to within half a percent', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MAX_SIZE_BYTES }), (bytes) => {
        const back = parseSize(formatSize(Math.min(bytes, MAX_SIZE_BYTES)));
        expect(Math.abs(back - bytes)).toBeLessThanOrEqual(bytes * 0.005 + 1);
      }),
    );
  });
});
