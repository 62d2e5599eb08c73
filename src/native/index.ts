// SPDX-License-Identifier: Apache-2.0
// Everything the native addon offers: offline operations on images that are not attached.
// Each call runs off the main thread, takes and releases the image's lock itself and rejects with PloopError.
// Sizes and offsets are bytes as number (an image is at most 2^53 - 1 bytes).

import { PloopError } from '../errors.js';
import { checkBoolean, checkInteger, checkOptions, checkPath, checkText, MAX_SIZE_BYTES } from './arguments.js';
import { binding, translated } from './binding.js';
import { diff, type NativeDiff, type NativeDiffOptions } from './diff.js';
import type { NativeCheckResult } from './findings.js';
import { type NativeReader, Reader } from './reader.js';
import { space, type NativeSpace } from './space.js';
import type { NativeCompactResult, NativeExtent, NativeReclaimResult, NativeSnapshot } from './results.js';
import { checkLongWork, type LongWork, stoppable } from './stoppable.js';

export type { NativeChangedExtent, NativeDiff, NativeDiffOptions } from './diff.js';
export type { NativeCheckResult, NativeFinding } from './findings.js';
export type { NativeCompactResult, NativeExtent, NativeReclaimResult, NativeSnapshot } from './results.js';
export type { NativeReader } from './reader.js';
export type { NativeSpace, NativeSpacePage } from './space.js';

export interface NativeLayerUsage {
  hostBytes: number;
  length: number;
  clusters: number;
  ownedBytes: number;
  /** Owned blocks that have host space. */
  dataBytes: number;
  /** Clusters by how full they are of such blocks: [0] up to 1/8, [7] more than 7/8. */
  fullness: number[];
}

export interface NativeLayer {
  id: string;
  parent: string | null;
  size: number;
  /** Only with `usage: true`. */
  usage?: NativeLayerUsage;
}

/** What discards give back to the host: every block, clusters without data, nothing. */
export type DiscardPolicy = 'block' | 'cluster' | 'off';

export const DISCARD_POLICIES: readonly DiscardPolicy[] = ['block', 'cluster', 'off'];

export interface NativeImageInfo {
  id: string;
  label: string;
  fs: string;
  created: string;
  size: number;
  blockSize: number;
  top: string;
  /** Layers get block checksums when they are sealed. */
  checksums?: boolean;
  discard: DiscardPolicy;
  layers: NativeLayer[];
  snapshots: NativeSnapshot[];
}

export interface Native {
  create(dir: string, params: { size: number; blockSize?: number; label?: string; fs?: string; checksums?: boolean }): Promise<void>;
  /** `lock: false` looks without taking the lock (an attached image). */
  info(dir: string, options?: { usage?: boolean; lock?: boolean }): Promise<NativeImageInfo>;
  openReader(dir: string, options?: { snapshot?: string; lock?: boolean }): Promise<NativeReader>;
  map(
    dir: string,
    options?: { offset?: number; length?: number; limit?: number; snapshot?: string; lock?: boolean },
  ): Promise<{ extents: NativeExtent[]; next: number | null }>;
  /** `count` pages from `first` on. */
  space(dir: string, options: { first: number; count: number; lock?: boolean }): Promise<NativeSpace>;
  /** Changed blocks between two states (docs/diff.md). */
  diff(dir: string, options?: NativeDiffOptions): Promise<NativeDiff>;
  check(dir: string, options?: { data?: boolean; repair?: boolean }): Promise<NativeCheckResult>;
  /** For sealed layers that lack them; how many got them. */
  addChecksums(dir: string, options?: LongWork): Promise<number>;
  snapshot(dir: string, options?: { name?: string; description?: string; holder?: string }): Promise<string>;
  /** A new image over the layers that the snapshot shows, sharing their files; `copy` where that can't be. */
  clone(from: string, snapshot: string, to: string, options?: { label?: string; copy?: boolean }): Promise<void>;
  newId(dir: string): Promise<string>;
  /** With `keepAs`, the state before is kept as a snapshot of that name; its id, null when there is one that holds the same. */
  switchTo(dir: string, snapshot: string, options?: { keepAs?: string; description?: string }): Promise<string | null>;
  /** `rate`: bytes a second at most; 0 = no limit. `merge` false: its layer stays until the image is attached, or the next deletion. */
  deleteSnapshot(dir: string, snapshot: string, options?: LongWork & { rate?: number; merge?: boolean }): Promise<void>;
  /** What a clone of the image's newest snapshot has become. BUSY when the image was written to since. */
  adoptTop(dir: string, clone: string): Promise<void>;
  /** `shrink`: to a smaller size, whatever is beyond. */
  resize(dir: string, size: number, options?: { shrink?: boolean }): Promise<void>;
  setDiscard(dir: string, discard: DiscardPolicy): Promise<void>;
  compact(dir: string, options?: LongWork): Promise<NativeCompactResult>;
  /** What layers that no snapshot shows hold, and no branch above them sees, goes back to the host. */
  reclaim(dir: string, options?: LongWork): Promise<NativeReclaimResult>;
  /** Whether some process holds an exclusive flock(2) on the file, or with `shared` any; false when there is no such file. */
  isLocked(path: string, options?: { shared?: boolean }): Promise<boolean>;
}

const MAX_FINDINGS = 1000;

export const native: Native = {
  async create(dir, params) {
    checkPath('create: dir', dir);
    checkOptions('create', params, ['size', 'blockSize', 'label', 'fs', 'checksums']);
    const size = checkInteger('create: size', params.size, { min: 1, max: MAX_SIZE_BYTES });
    const blockSize = checkInteger('create: blockSize', params.blockSize ?? 4096, { min: 4096, max: 65536 });
    if ((blockSize & (blockSize - 1)) !== 0) {
      throw new PloopError('INVALID_ARGUMENT', `create: blockSize: ${blockSize} is not one of 4096, 8192, 16384, 32768, 65536`);
    }
    const label = params.label === undefined ? null : checkText('create: label', params.label, { maxBytes: 63, line: true });
    const fs = checkText('create: fs', params.fs ?? 'none', { maxBytes: 15 });
    const checksums = checkBoolean('create: checksums', params.checksums ?? false);
    await translated(binding().create(dir, size, blockSize, label, fs, checksums));
  },

  async info(dir, options = {}) {
    checkPath('info: dir', dir);
    checkOptions('info', options, ['usage', 'lock']);
    const usage = checkBoolean('info: usage', options.usage ?? false);
    const lock = checkBoolean('info: lock', options.lock ?? true);
    return translated(binding().info(dir, usage, lock));
  },

  async openReader(dir, options = {}) {
    checkPath('openReader: dir', dir);
    checkOptions('openReader', options, ['snapshot', 'lock']);
    const snapshot = optionalKey('openReader: snapshot', options.snapshot);
    const lock = checkBoolean('openReader: lock', options.lock ?? true);
    const raw = await translated(binding().openReader(dir, snapshot, lock));
    return new Reader(raw);
  },

  async map(dir, options = {}) {
    checkPath('map: dir', dir);
    checkOptions('map', options, ['offset', 'length', 'limit', 'snapshot', 'lock']);
    const offset = checkInteger('map: offset', options.offset ?? 0);
    const length = options.length === undefined ? 0 : checkInteger('map: length', options.length, { min: 1 });
    const limit = options.limit === undefined ? 0 : checkInteger('map: limit', options.limit, { min: 1, max: 2 ** 32 - 1 });
    const snapshot = optionalKey('map: snapshot', options.snapshot);
    const lock = checkBoolean('map: lock', options.lock ?? true);
    return translated(binding().map(dir, offset, length, limit, snapshot, lock));
  },

  space,

  diff,

  async check(dir, options = {}) {
    checkPath('check: dir', dir);
    checkOptions('check', options, ['data', 'repair']);
    const data = checkBoolean('check: data', options.data ?? false);
    const repair = checkBoolean('check: repair', options.repair ?? false);
    return translated(binding().check(dir, MAX_FINDINGS, data, repair));
  },

  async addChecksums(dir, options = {}) {
    checkPath('addChecksums: dir', dir);
    checkLongWork('addChecksums', options);
    return stoppable(options, (report, stop) => binding().addChecksums(dir, report, stop));
  },

  async snapshot(dir, options = {}) {
    checkPath('snapshot: dir', dir);
    checkOptions('snapshot', options, ['name', 'description', 'holder']);
    const name = options.name === undefined ? null : checkText('snapshot: name', options.name, { maxBytes: 127, line: true });
    const description =
      options.description === undefined
        ? null
        : checkText('snapshot: description', options.description, { maxBytes: 255, empty: true, line: true });
    const holder = options.holder === undefined ? null : checkText('snapshot: holder', options.holder, { maxBytes: 127 });
    return translated(binding().snapshot(dir, name, description, holder));
  },

  async clone(from, snapshot, to, options = {}) {
    checkPath('clone: from', from);
    checkText('clone: snapshot', snapshot);
    checkPath('clone: to', to);
    checkOptions('clone', options, ['label', 'copy']);
    const label = options.label === undefined ? null : checkText('clone: label', options.label, { maxBytes: 63, line: true });
    await translated(binding().clone(from, snapshot, to, label, checkBoolean('clone: copy', options.copy ?? false)));
  },

  async newId(dir) {
    checkPath('newId: dir', dir);
    return translated(binding().newId(dir));
  },

  async switchTo(dir, snapshot, { keepAs = '', description = '' } = {}) {
    checkPath('switchTo: dir', dir);
    checkText('switchTo: snapshot', snapshot);
    const kept = await translated(binding().switchTo(dir, snapshot, keepAs, description));
    return kept === '' ? null : kept;
  },

  async deleteSnapshot(dir, snapshot, options = {}) {
    checkPath('deleteSnapshot: dir', dir);
    checkText('deleteSnapshot: snapshot', snapshot);
    const { rate: given = 0, merge = true, ...work } = options;
    const rate = checkInteger('deleteSnapshot: rate', given);
    checkLongWork('deleteSnapshot', work);
    await stoppable(work, (report, stop) => binding().deleteSnapshot(dir, snapshot, report, stop, rate, merge));
  },

  async adoptTop(dir, clone) {
    await translated(binding().adoptTop(checkPath('adoptTop: dir', dir), checkPath('adoptTop: clone', clone)));
  },

  async resize(dir, size, options = {}) {
    checkPath('resize: dir', dir);
    checkInteger('resize: size', size, { min: 1, max: MAX_SIZE_BYTES });
    checkOptions('resize', options, ['shrink']);
    const shrink = checkBoolean('resize: shrink', options.shrink ?? false);
    await translated(shrink ? binding().shrink(dir, size) : binding().resize(dir, size));
  },

  async setDiscard(dir, discard) {
    checkPath('setDiscard: dir', dir);
    if (!DISCARD_POLICIES.includes(discard)) {
      throw new PloopError('INVALID_ARGUMENT', `setDiscard: discard: ${String(discard)} is not one of ${DISCARD_POLICIES.join(', ')}`);
    }
    await translated(binding().setDiscard(dir, discard));
  },

  async compact(dir, options = {}) {
    checkPath('compact: dir', dir);
    checkLongWork('compact', options);
    return stoppable(options, (report, stop) => binding().compact(dir, report, stop));
  },

  async reclaim(dir, options = {}) {
    checkPath('reclaim: dir', dir);
    checkLongWork('reclaim', options);
    return stoppable(options, (report, stop) => binding().reclaim(dir, report, stop));
  },

  async isLocked(path, options = {}) {
    checkPath('isLocked: path', path);
    checkOptions('isLocked', options, ['shared']);
    const shared = checkBoolean('isLocked: shared', options.shared ?? false);
    return translated(binding().isLocked(path, shared));
  },
};

function optionalKey(name: string, key: string | undefined): string | null {
  return key === undefined ? null : checkText(name, key);
}
