// SPDX-License-Identifier: Apache-2.0
// Checks of what callers hand in: a wrong argument is refused with a sentence that names it, before anything runs.
// The addon behind these checks may rely on them.

import { PloopError } from '../errors.js';

/** Beyond this no block size allows an image; the format's own limits are checked in C. */
export const MAX_SIZE_BYTES = 2 ** 50;

function invalid(message: string): PloopError {
  return new PloopError('INVALID_ARGUMENT', message);
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A non-empty string without NUL bytes, of at most `maxBytes` bytes of UTF-8. `line`: it will be shown, so no control characters. */
export function checkText(name: string, value: unknown, limits: { maxBytes?: number; empty?: boolean; line?: boolean } = {}): string {
  if (typeof value !== 'string') throw invalid(`${name}: expected a string, got ${describe(value)}`);
  if (value === '' && !limits.empty) throw invalid(`${name}: must not be empty`);
  if (value.includes('\0')) throw invalid(`${name}: must not contain a NUL character`);
  if (limits.line && /[\u0000-\u001f\u007f-\u009f]/.test(value)) {
    throw invalid(`${name}: must be one line without control characters, got ${JSON.stringify(value)}`);
  }
  const length = Buffer.byteLength(value);
  if (limits.maxBytes !== undefined && length > limits.maxBytes) {
    throw invalid(`${name}: ${length} bytes long, the limit is ${limits.maxBytes}`);
  }
  return value;
}

/** A directory path; the C side has room for 255 bytes of it in messages, the system for 4095. */
export function checkPath(name: string, value: unknown): string {
  return checkText(name, value, { maxBytes: 4095 });
}

export interface IntegerLimits {
  min?: number;
  max?: number;
  multipleOf?: number;
}

/** A whole number of bytes (or of things). */
export function checkInteger(name: string, value: unknown, limits: IntegerLimits = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER, multipleOf = 1 } = limits;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw invalid(`${name}: expected a whole number, got ${describe(value)}`);
  if (value < min) throw invalid(`${name}: ${value} is too small, the least is ${min}`);
  if (value > max) throw invalid(`${name}: ${value} is too large, the limit is ${max}`);
  if (value % multipleOf !== 0) throw invalid(`${name}: ${value} is not a multiple of ${multipleOf}`);
  return value;
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(`${name}: expected true or false, got ${describe(value)}`);
  return value;
}

export function checkFunction<T>(name: string, value: T): T {
  if (typeof value !== 'function') throw invalid(`${name}: expected a function, got ${describe(value)}`);
  return value;
}

export function checkSignal(name: string, value: unknown): AbortSignal {
  if (!(value instanceof AbortSignal)) throw invalid(`${name}: expected an AbortSignal, got ${describe(value)}`);
  return value;
}

/** Refuses anything but an object whose keys are all known; names the likely spelling of an unknown one. */
export function checkOptions(where: string, value: unknown, known: readonly string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${where}: expected an options object, got ${describe(value)}`);
  }
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const likely = nearest(key, known);
    const list = known.length === 0 ? 'it takes none' : `known: ${known.join(', ')}`;
    throw invalid(`${where}: unknown option '${key}'${likely === undefined ? ` (${list})` : `; did you mean '${likely}'?`}`);
  }
}

/** The known word at most a third of its letters away, if any. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance && distance <= Math.max(1, candidate.length / 3)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
