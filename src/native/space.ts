// SPDX-License-Identifier: Apache-2.0
// Which blocks of an image that is not attached cost host space.

import { checkBoolean, checkInteger, checkOptions, checkPath } from './arguments.js';
import { binding, translated } from './binding.js';

/** Which blocks cost host space: a page of 256 clusters. */
export interface NativeSpacePage {
  page: number;
  /** Two bitmaps of 2048 bytes, a bit a block: those the top has data for, and those seen of the layers below. */
  masks: Buffer;
}

export interface NativeSpace {
  blockSize: number;
  size: number;
  /** In order; pages without such blocks are left out. */
  pages: NativeSpacePage[];
}

/** `count` pages from `first` on. */
export async function space(dir: string, options: { first: number; count: number; lock?: boolean }): Promise<NativeSpace> {
  checkPath('space: dir', dir);
  checkOptions('space', options, ['first', 'count', 'lock']);
  const first = checkInteger('space: first', options.first);
  const count = checkInteger('space: count', options.count, { min: 1 });
  return translated(binding().space(dir, first, count, checkBoolean('space: lock', options.lock ?? true)));
}
