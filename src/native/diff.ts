// SPDX-License-Identifier: Apache-2.0
// Changed blocks between two states of an image that is not attached.

import { checkBoolean, checkInteger, checkOptions, checkPath, checkSignal, checkText } from './arguments.js';
import { binding } from './binding.js';
import { stoppable } from './stoppable.js';

export interface NativeChangedExtent {
  offset: number;
  length: number;
  /** Reads as zeros in the later state and takes no host space there. */
  zero: boolean;
}

export interface NativeDiff {
  /** Ids of the snapshots; null: before everything, and now. */
  from: string | null;
  to: string | null;
  /** Of the disk in the later state. */
  size: number;
  extents: NativeChangedExtent[];
  next: number | null;
}

export interface NativeDiffOptions {
  /** Without one: all that the later state owns. */
  from?: string;
  /** Without one: the present state. */
  to?: string;
  offset?: number;
  length?: number;
  limit?: number;
  compare?: boolean;
  lock?: boolean;
  signal?: AbortSignal;
}

const MAX_CHANGED_EXTENTS = 65536;

export async function diff(dir: string, options: NativeDiffOptions = {}): Promise<NativeDiff> {
  checkPath('diff: dir', dir);
  checkOptions('diff', options, ['from', 'to', 'offset', 'length', 'limit', 'compare', 'lock', 'signal']);
  const from = options.from === undefined ? null : checkText('diff: from', options.from);
  const to = options.to === undefined ? null : checkText('diff: to', options.to);
  const offset = checkInteger('diff: offset', options.offset ?? 0);
  const length = options.length === undefined ? 0 : checkInteger('diff: length', options.length, { min: 1 });
  const limit = checkInteger('diff: limit', options.limit ?? MAX_CHANGED_EXTENTS, { min: 1, max: MAX_CHANGED_EXTENTS });
  const compare = checkBoolean('diff: compare', options.compare ?? false);
  const lock = checkBoolean('diff: lock', options.lock ?? true);
  const work = options.signal === undefined ? {} : { signal: checkSignal('diff: signal', options.signal) };
  return stoppable(work, (_, stop) => binding().diff(dir, from, to, offset, length, limit, compare, lock, stop));
}
