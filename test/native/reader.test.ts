// SPDX-License-Identifier: Apache-2.0
// Readers: closing while reads are in flight, forgetting to close, worker threads.
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';

import { nativeFile } from '../../src/native/binding.js';
import { native } from '../../src/native/index.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

let dir: string;
scratchPerTest(async (places) => {
  ({ image: dir } = places);
  await native.create(dir, { size: 8 * MIB });
});

describe('a reader', () => {
  it('reads zeros where nothing was written', async () => {
    await using reader = await native.openReader(dir);
    expect(reader.size).toBe(8 * MIB);
    const bytes = await reader.read(512, 3 * MIB);
    expect(bytes.length).toBe(3 * MIB);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expect(await reader.read(8 * MIB, 0)).toHaveLength(0);
  });

  it('refuses what is unaligned or beyond the end', async () => {
    await using reader = await native.openReader(dir);
    await expect(reader.read(1, 512)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: /read: offset: 1 is not a multiple of 512/,
    });
    await expect(reader.read(0, 100)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: /read: length: 100/ });
    await expect(reader.read(8 * MIB, 512)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: /end beyond the disk's/ });
  });

  it('can be closed while reads are in flight, and twice', async () => {
    const reader = await native.openReader(dir);
    const reads = Array.from({ length: 20 }, (_, at) => reader.read(at * 4096, MIB));
    await Promise.all([reader.close(), reader.close()]);
    for (const read of reads) expect((await read).length).toBe(MIB);
    await expect(reader.read(0, 512)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: 'the reader is closed' });
  });

  it('survives a raw close during a raw read, without the queue in front', async () => {
    const { createRequire } = await import('node:module');
    const raw = createRequire(import.meta.url)(nativeFile('ploop.node')) as {
      openReader(
        dir: string,
        snapshot: null,
        lock: boolean,
      ): Promise<{ read(o: number, l: number): Promise<Buffer>; close(): Promise<void> }>;
    };
    for (let round = 0; round < 20; round++) {
      const reader = await raw.openReader(dir, null, true);
      const read = reader.read(0, 4 * MIB).then(
        (bytes) => bytes.length,
        (error: { code: string }) => error.code,
      );
      await reader.close();
      expect([4 * MIB, 'INVALID_ARGUMENT']).toContain(await read);
    }
  });
});

describe('worker threads', () => {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const native = require(workerData.addon);
    native.openReader(workerData.dir, null, true).then(async (reader) => {
      const bytes = await reader.read(0, 65536);
      parentPort.postMessage(bytes.length);
      if (workerData.leave) { reader.read(0, 4 << 20); process.exit(0); }
      await reader.close();
    });`;
  const started = (leave: boolean): Worker =>
    new Worker(script, { eval: true, workerData: { addon: nativeFile('ploop.node'), dir, leave } });

  it('load the addon side by side', async () => {
    const lengths = await Promise.all(
      Array.from({ length: 4 }, () => {
        const worker = started(false);
        return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      }),
    );
    expect(lengths).toEqual([65536, 65536, 65536, 65536]);
    expect((await native.info(dir)).size).toBe(8 * MIB);
  });

  it('may end in the middle of a read', async () => {
    for (let round = 0; round < 5; round++) {
      const worker = started(true);
      const status = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
      expect(status).toBe(0);
    }
    // Nothing of theirs holds the image any more.
    await native.snapshot(dir);
  });
});
