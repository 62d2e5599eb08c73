// SPDX-License-Identifier: Apache-2.0
// Open readers of detached images, kept for those who come back: metrics, services, backup tools. Bounded (lru-cache);
// what falls out, was not used for a while or belongs to an image that has changed is closed.
import { resolve } from 'node:path';

import { LRUCache } from 'lru-cache';

import { PloopError } from '../errors.js';
import { checkInteger, checkOptions, checkPath } from '../native/arguments.js';
import { native, type NativeReader } from '../native/index.js';
import { readDescriptor, type ImageDescriptor } from './descriptor.js';
import { findSnapshot } from './snapshots.js';

export interface ReaderCacheOptions {
  /** How many images are open at most. Default 64. */
  max?: number | undefined;
  /** Closed after this long without a read, which ends the shared lock. Default 30 s. */
  idleMs?: number | undefined;
}

interface Entry {
  /** Of the state the reader shows: another one after a snapshot, a switch, a merge. */
  descriptor: ImageDescriptor;
  reader: Promise<NativeReader>;
  /** In flight: it is closed behind them. */
  reads: Set<Promise<Buffer>>;
}

/** An image in the cache is locked against changes while it is open: keep `idleMs` short where others work on it. */
export class ReaderCache {
  readonly #entries: LRUCache<string, Entry>;
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(options: ReaderCacheOptions = {}) {
    checkOptions('reader cache', options, ['max', 'idleMs']);
    this.#entries = new LRUCache({
      max: checkInteger('reader cache: max', options.max ?? 64, { min: 1 }),
      ttl: checkInteger('reader cache: idleMs', options.idleMs ?? 30_000, { min: 1 }),
      ttlAutopurge: true,
      updateAgeOnGet: true,
      dispose: (entry) => this.#dispose(entry),
    });
  }

  /** How many images are open. */
  get size(): number {
    return this.#entries.size;
  }

  /** Bytes of the virtual disk, or of a snapshot of it; offset and length multiples of 512. */
  async read(dir: string, options: { offset: number; length: number; snapshot?: string | undefined }): Promise<Buffer> {
    checkPath('read: dir', dir);
    checkOptions('read', options, ['offset', 'length', 'snapshot']);
    const descriptor = await readDescriptor(dir);
    const snapshot = options.snapshot === undefined ? undefined : findSnapshot(descriptor, options.snapshot).id;
    const entry = this.#entry(dir, descriptor, snapshot);
    const read = entry.reader.then((reader) => reader.read(options.offset, options.length));
    entry.reads.add(read);
    return read.finally(() => entry.reads.delete(read));
  }

  /** Closes everything; idempotent. Reads in flight end first. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#entries.clear();
    await Promise.all(this.#closing);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #entry(dir: string, descriptor: ImageDescriptor, snapshot: string | undefined): Entry {
    if (this.#closed) throw new PloopError('INVALID_ARGUMENT', 'the reader cache is closed');
    const key = `${resolve(dir)}\0${snapshot ?? ''}`;
    const known = this.#entries.get(key);
    if (known !== undefined && known.descriptor === descriptor) return known;
    const reader = native.openReader(dir, snapshot === undefined ? {} : { snapshot });
    const entry = { descriptor, reader, reads: new Set<Promise<Buffer>>() };
    this.#entries.set(key, entry);
    reader.catch(() => {
      if (this.#entries.peek(key) === entry) this.#entries.delete(key);
    });
    return entry;
  }

  #dispose(entry: Entry): void {
    const closing = Promise.allSettled(entry.reads)
      .then(async () => (await entry.reader).close())
      .catch(() => undefined)
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
