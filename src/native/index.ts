// SPDX-License-Identifier: Apache-2.0
// Everything the native addon offers: offline operations on images that are not attached.
// Each call runs off the main thread, takes and releases the image's lock itself and rejects with PloopError.
// Sizes and offsets are bytes as number (an image is at most 2^53 - 1 bytes).

export interface NativeSnapshot {
  id: string;
  layer: string;
  name: string;
  description: string;
  created: string;
  hidden: boolean;
}

export interface NativeLayer {
  id: string;
  parent: string | null;
  size: number;
  /** Only with `usage: true`. */
  usage?: { hostBytes: number; length: number; clusters: number; ownedBytes: number };
}

export interface NativeImageInfo {
  id: string;
  label: string;
  fs: string;
  created: string;
  size: number;
  blockSize: number;
  top: string;
  layers: NativeLayer[];
  snapshots: NativeSnapshot[];
}

export interface NativeExtent {
  offset: number;
  length: number;
  layer: string | null;
  zero: boolean;
  hostOffset: number | null;
}

export interface NativeFinding {
  code: string;
  layer: string;
  offset: number;
  text: string;
}

export interface NativeCheckResult {
  layers: number;
  leftovers: number;
  mapPages: number;
  clusters: number;
  journalRecords: number;
  findings: NativeFinding[];
}

export interface NativeCompactResult {
  hostBefore: number;
  hostAfter: number;
  lengthBefore: number;
  lengthAfter: number;
  clustersFreed: number;
  clustersMoved: number;
}

export interface NativeReader {
  readonly size: number;
  /** Reads bytes of the virtual disk; offset and length multiples of 512. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Idempotent; safe while a read is in flight. */
  close(): Promise<void>;
}

export type NativeProgress = (done: number, total: number) => void;

export interface Native {
  create(dir: string, params: { size: number; blockSize?: number; label?: string; fs?: string }): Promise<void>;
  /** `lock: false` looks without taking the lock (an attached image). */
  info(dir: string, options?: { usage?: boolean; lock?: boolean }): Promise<NativeImageInfo>;
  openReader(dir: string, options?: { snapshot?: string }): Promise<NativeReader>;
  map(dir: string, options?: { offset?: number; length?: number; limit?: number; snapshot?: string }): Promise<{ extents: NativeExtent[]; next: number | null }>;
  check(dir: string): Promise<NativeCheckResult>;
  snapshot(dir: string, options?: { name?: string; description?: string }): Promise<string>;
  switchTo(dir: string, snapshot: string): Promise<void>;
  deleteSnapshot(dir: string, snapshot: string, options?: { onProgress?: NativeProgress; signal?: AbortSignal }): Promise<void>;
  resize(dir: string, size: number): Promise<void>;
  compact(dir: string, options?: { onProgress?: NativeProgress; signal?: AbortSignal }): Promise<NativeCompactResult>;
}
