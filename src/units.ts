// SPDX-License-Identifier: Apache-2.0
// Sizes as people write and read them. Powers of 1024 throughout; K, KB and KiB mean the same.
import { PloopError } from './errors.js';

const SUFFIXES = ['', 'K', 'M', 'G', 'T'] as const;

/** The largest virtual size at 4 KiB blocks: 64 TiB. */
export const MAX_SIZE_BYTES = 64 * 1024 ** 4;

const SIZE_PATTERN = /^([+-]?)(\d+(?:\.\d+)?|\.\d+)\s*(?:([KMGT])(?:IB?|B)?|B)?$/;

/**
 * Bytes of a size such as `10G`, `1.5GiB`, `512 MB` or `4096`; parts of a byte are dropped.
 * Throws INVALID_ARGUMENT naming `option` for everything that is no size from 1 byte to 64 TiB.
 */
export function parseSize(word: string, option = 'size'): number {
  const match = SIZE_PATTERN.exec(word.trim().toUpperCase());
  const refuse = (what: string): PloopError =>
    new PloopError('INVALID_ARGUMENT', `${option}: ${what}`, { hint: 'Write a size as 10G, 1.5T, 512M, 64K or in bytes.' });
  if (!match) throw refuse(`'${word}' is not a size`);
  const [, sign, figure, suffix] = match;
  const bytes = Math.floor(Number(figure) * 1024 ** SUFFIXES.indexOf((suffix ?? '') as (typeof SUFFIXES)[number]));
  if (sign === '-') throw refuse(`'${word}' is negative; a size is at least 1 byte`);
  if (bytes === 0) throw refuse(`'${word}' is 0; a size is at least 1 byte`);
  if (bytes > MAX_SIZE_BYTES) throw refuse(`'${word}' is beyond the limit of 64T (${MAX_SIZE_BYTES} bytes)`);
  return bytes;
}

/** `10 GiB`, `1.5 MiB`, `0 B`: three significant digits at most; a whole number stays exact (`1000 KiB`). */
export function formatSize(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  while (unit < SUFFIXES.length - 1 && value >= 1024) {
    value /= 1024;
    unit++;
  }
  // 1023.99 KiB must not read "1024 KiB".
  if (unit > 0 && unit < SUFFIXES.length - 1 && Math.round(value) === 1024) {
    value = 1;
    unit++;
  }
  const digits = value >= 100 || unit === 0 ? 0 : value >= 10 ? 1 : 2;
  return `${bytes < 0 ? '-' : ''}${Number(value.toFixed(digits))} ${unit === 0 ? 'B' : `${SUFFIXES[unit]}iB`}`;
}
