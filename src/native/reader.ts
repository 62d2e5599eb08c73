// SPDX-License-Identifier: Apache-2.0
// Reading the virtual disk of an image that is not attached.

import { PloopError } from '../errors.js';
import { checkInteger } from './arguments.js';
import { translated, type RawReader } from './binding.js';

const MAX_READ_BYTES = 64 * 2 ** 20;

/** Holds the image's shared lock until it is closed. */
export interface NativeReader {
  readonly size: number;
  /** Reads bytes of the virtual disk; offset and length multiples of 512. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Idempotent; safe while a read is in flight. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** One read at a time: the chain serves one thread, and waiting belongs here, not into the thread pool. */
export class Reader implements NativeReader {
  readonly #raw: RawReader;
  #last: Promise<unknown> = Promise.resolve();

  constructor(raw: RawReader) {
    this.#raw = raw;
  }

  get size(): number {
    return this.#raw.size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkInteger('read: offset', offset, { multipleOf: 512 });
    checkInteger('read: length', length, { max: MAX_READ_BYTES, multipleOf: 512 });
    if (offset + length > this.size) {
      throw new PloopError('INVALID_ARGUMENT', `read: ${length} bytes at ${offset} end beyond the disk's ${this.size} bytes`);
    }
    const next = this.#last.then(() => translated(this.#raw.read(offset, length)));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async close(): Promise<void> {
    await this.#last;
    await translated(this.#raw.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
