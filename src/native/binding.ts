// SPDX-License-Identifier: Apache-2.0
// Finds and loads what the native build made: the addon (ploop.node) and the programs beside it (ploopd).
// The raw addon takes positional, already checked arguments; src/native/index.ts is what everybody else uses.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';

import { isErrorCode, PloopError } from '../errors.js';
import type {
  NativeCheckResult,
  NativeCompactResult,
  NativeDiff,
  NativeExtent,
  NativeImageInfo,
  NativeReclaimResult,
  NativeSpace,
} from './index.js';

export interface RawReader {
  readonly size: number;
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** What another thread looks at to learn that it should stop. */
export type StopFlag = object;

export interface Binding {
  create(dir: string, size: number, blockSize: number, label: string | null, fs: string, checksums: boolean): Promise<void>;
  info(dir: string, usage: boolean, lock: boolean): Promise<NativeImageInfo>;
  openReader(dir: string, snapshot: string | null, lock: boolean): Promise<RawReader>;
  /** length 0 = to the end; limit 0 = no limit. */
  map(
    dir: string,
    offset: number,
    length: number,
    limit: number,
    snapshot: string | null,
    lock: boolean,
  ): Promise<{ extents: NativeExtent[]; next: number | null }>;
  space(dir: string, first: number, count: number, lock: boolean): Promise<NativeSpace>;
  /** length 0 = to the end. */
  diff(
    dir: string,
    from: string | null,
    to: string | null,
    offset: number,
    length: number,
    limit: number,
    compare: boolean,
    lock: boolean,
    stop: StopFlag,
  ): Promise<NativeDiff>;
  check(dir: string, limit: number, data: boolean, repair: boolean): Promise<NativeCheckResult>;
  addChecksums(dir: string, onProgress: ((done: number, total: number) => void) | null, stop: StopFlag): Promise<number>;
  snapshot(dir: string, name: string | null, description: string | null, holder: string | null): Promise<string>;
  clone(from: string, snapshot: string, to: string, label: string | null, copy: boolean): Promise<void>;
  newId(dir: string): Promise<string>;
  switchTo(dir: string, snapshot: string, keepAs: string, description: string): Promise<string>;
  deleteSnapshot(
    dir: string,
    snapshot: string,
    onProgress: ((done: number, total: number) => void) | null,
    stop: StopFlag,
    rate: number,
    merge: boolean,
  ): Promise<void>;
  adoptTop(dir: string, clone: string): Promise<void>;
  resize(dir: string, size: number): Promise<void>;
  shrink(dir: string, size: number): Promise<void>;
  setDiscard(dir: string, discard: string): Promise<void>;
  compact(dir: string, onProgress: ((done: number, total: number) => void) | null, stop: StopFlag): Promise<NativeCompactResult>;
  reclaim(dir: string, onProgress: ((done: number, total: number) => void) | null, stop: StopFlag): Promise<NativeReclaimResult>;
  isLocked(path: string, shared: boolean): Promise<boolean>;
  stopFlag(): StopFlag;
  stop(flag: StopFlag): void;
}

/** The path of something the native build made; `PLOOP_NATIVE_DIR` points at another build (say, one with ASan). */
export function nativeFile(name: string): string {
  const override = process.env['PLOOP_NATIVE_DIR'];
  const path =
    override === undefined || override === ''
      ? fileURLToPath(new URL(`../../build/native/Release/${name}`, import.meta.url))
      : `${override}/${name}`;
  if (!existsSync(path)) {
    throw new PloopError('TOOL_MISSING', `${path} is missing: the native part is not built`, {
      hint: 'Build it with: npm run build:native',
      details: { path },
    });
  }
  return path;
}

let loaded: Binding | undefined;

/** Loaded on first use, so that help and argument errors need no native build. */
export function binding(): Binding {
  loaded ??= createRequire(import.meta.url)(nativeFile('ploop.node')) as Binding;
  return loaded;
}

/** Awaits a call of the addon and turns what it rejects with into a PloopError. */
export async function translated<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw toPloopError(error);
  }
}

function toPloopError(error: unknown): PloopError {
  const { code, sysErrno, message } = error as { code?: unknown; sysErrno?: unknown; message?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : String(error);
  if (!isErrorCode(code)) return new PloopError('INTERNAL', text, { cause: error });
  const details = typeof sysErrno === 'number' && sysErrno > 0 ? { errno: getSystemErrorName(-sysErrno) } : undefined;
  return new PloopError(code, text, { details });
}
