// SPDX-License-Identifier: Apache-2.0
// Misuse of the native layer: refused with a sentence that names the argument, before anything runs.
import { describe, expect, it } from 'vitest';

import { PloopError } from '../../src/errors.js';
import { native, type Native } from '../../src/native/index.js';
import { nearest } from '../../src/native/arguments.js';

/** Calls as JavaScript would: without the compiler's help. */
const untyped = native as unknown as Record<keyof Native, (...args: unknown[]) => Promise<unknown>>;

async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(PloopError);
  expect((error as PloopError).code).toBe('INVALID_ARGUMENT');
  return (error as PloopError).message;
}

describe('native arguments', () => {
  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['a missing directory', () => untyped.create(), /create: dir: expected a string, got nothing/],
    ['a number as directory', () => untyped.info(7), /info: dir: expected a string, got 7/],
    ['an empty directory name', () => untyped.info(''), /info: dir: must not be empty/],
    ['a NUL in a path', () => untyped.info('a\0b'), /info: dir: must not contain a NUL/],
    ['missing parameters', () => untyped.create('x'), /create: expected an options object, got nothing/],
    ['a size as text', () => untyped.create('x', { size: '10G' }), /create: size: expected a whole number, got "10G"/],
    ['a size of 0', () => untyped.create('x', { size: 0 }), /create: size: 0 is too small/],
    ['a negative size', () => untyped.create('x', { size: -4096 }), /create: size: -4096 is too small/],
    ['a fraction', () => untyped.create('x', { size: 1.5 }), /create: size: expected a whole number, got 1.5/],
    ['NaN', () => untyped.resize('x', NaN), /resize: size: expected a whole number, got NaN/],
    ['a size beyond every limit', () => untyped.resize('x', 2 ** 52), /resize: size: \d+ is too large, the limit is/],
    ['a block size that is no power of two', () => untyped.create('x', { size: 1, blockSize: 12288 }), /blockSize: 12288 is not one of/],
    ['a label that is too long', () => untyped.create('x', { size: 1, label: 'ä'.repeat(32) }), /label: 64 bytes long, the limit is 63/],
    ['a snapshot name of two lines', () => untyped.snapshot('x', { name: 'a\nb' }), /name: must be one line .*, got "a\\nb"/],
    ['a description for the terminal', () => untyped.snapshot('x', { description: '\u001B[2J' }), /description: must be one line/],
    ['an unknown option', () => untyped.create('x', { size: 1, blocksize: 1 }), /unknown option 'blocksize'; did you mean 'blockSize'\?/],
    ['an option of something else', () => untyped.info('x', { frobnicate: 1 }), /info: unknown option 'frobnicate' \(known: usage, lock\)/],
    ['an array for options', () => untyped.map('x', []), /map: expected an options object, got an array/],
    ['a boolean as text', () => untyped.info('x', { usage: 'yes' }), /info: usage: expected true or false, got "yes"/],
    ['a signal that is none', () => untyped.compact('x', { signal: {} }), /compact: signal: expected an AbortSignal, got an object/],
    ['progress that is no function', () => untyped.compact('x', { onProgress: 1 }), /compact: onProgress: expected a function, got 1/],
    ['an empty snapshot id', () => untyped.switchTo('x', ''), /switchTo: snapshot: must not be empty/],
    ['a name that is too long', () => untyped.snapshot('x', { name: 'n'.repeat(128) }), /snapshot: name: 128 bytes long, the limit is 127/],
  ])('refuses %s', async (_, call, message) => {
    expect(await refusal(call())).toMatch(message);
  });

  it('finds the likely spelling, and none for something else', () => {
    expect(nearest('snapshto', ['snapshot', 'length'])).toBe('snapshot');
    expect(nearest('xyz', ['snapshot', 'length'])).toBeUndefined();
  });
});
