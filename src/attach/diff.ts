// SPDX-License-Identifier: Apache-2.0
// Changed blocks between two states of an image (docs/diff.md), attached or not, page by page.

import { readDescriptor } from '../image/descriptor.js';
import { findSnapshot } from '../image/snapshots.js';
import { checkBoolean, checkOptions, checkPath, checkText } from '../native/arguments.js';
import { native, type NativeChangedExtent, type NativeDiff } from '../native/index.js';
import { findAttachment } from './attachments.js';
import { control } from './control.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface ChangedBlocksOptions extends RunDirectoryOption {
  /** The earlier state: a snapshot's id, unique id prefix or name. */
  from: string;
  /** The later state; default: now. */
  to?: string | undefined;
  /** Read both states and leave out blocks that hold the same. */
  compare?: boolean | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ChangedBlocks {
  from: string;
  /** null: now. */
  to: string | null;
  /** Of the disk in the later state. */
  sizeBytes: number;
  /** In order; adjacent ones of one kind may come in pieces. */
  extents: AsyncGenerator<NativeChangedExtent>;
}

const EXTENTS_PER_REQUEST = 512;

/** One request covers at most this much of the disk, so that the worker is not held up and progress shows. */
const BYTES_PER_COMPARISON = 2 ** 30;

export async function changedBlocks(dir: string, options: ChangedBlocksOptions): Promise<ChangedBlocks> {
  checkPath('diff: dir', dir);
  checkOptions('diff', options, ['runDir', 'from', 'to', 'compare', 'onProgress', 'signal']);
  const descriptor = await readDescriptor(dir);
  const from = findSnapshot(descriptor, checkText('diff: from', options.from)).id;
  const to = options.to === undefined ? undefined : findSnapshot(descriptor, checkText('diff: to', options.to)).id;
  const compare = checkBoolean('diff: compare', options.compare ?? false);
  const attachment = await findAttachment(dir, options);
  const live = attachment?.live === true ? attachment : null;
  const states = { from, compare, ...(to === undefined ? {} : { to }) };
  const ask = (offset: number, limit: number, length?: number): Promise<NativeDiff> => {
    const what = { ...states, offset, limit, ...(length === undefined ? {} : { length }) };
    if (live !== null) return control(live, 'diff', what, { signal: options.signal, timeoutMs: 0 });
    return native.diff(dir, { ...what, ...(options.signal === undefined ? {} : { signal: options.signal }) });
  };
  // The size, and whether the states are there at all, before anything is told.
  const { size } = await ask(0, 1, descriptor.blockSize);
  return { from, to: to ?? null, sizeBytes: size, extents: pages(ask, size, options) };
}

async function* pages(
  ask: (offset: number, limit: number, length?: number) => Promise<NativeDiff>,
  size: number,
  options: ChangedBlocksOptions,
): AsyncGenerator<NativeChangedExtent> {
  let at = 0;
  while (at < size) {
    options.signal?.throwIfAborted();
    const length = options.compare === true ? Math.min(BYTES_PER_COMPARISON, size - at) : size - at;
    const page = await ask(at, EXTENTS_PER_REQUEST, length);
    yield* page.extents;
    at = page.next ?? at + length;
    options.onProgress?.(at, size);
  }
}
