// SPDX-License-Identifier: Apache-2.0
// What a request costs, counted and not timed: system calls of the worker, and host space of a first write over a base.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { takeSnapshot } from '../../src/attach/operations.js';
import { run } from '../../src/exec/run.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage, hostBytes } from './device.js';

const MIB = 2 ** 20;
const REQUESTS = 2000;
/** Where they go. */
const PLACE = '64M';

async function fio(device: string, ...args: string[]): Promise<void> {
  await run('fio', ['--name=cost', `--filename=${device}`, '--ioengine=libaio', '--direct=1', ...args]);
}

/** System calls of a process while the work runs, by name. */
async function countCalls(pid: number, file: string, work: () => Promise<void>): Promise<Map<string, number>> {
  const strace = spawn('strace', ['-c', '-o', file, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'close');
  try {
    await once(strace.stderr, 'data'); // "attached"
    await work();
  } finally {
    strace.kill('SIGINT');
    await ended;
  }
  const rows = (await readFile(file, 'utf8')).matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?!total)(\w+)$/gm);
  return new Map([...rows].map(([, calls = '0', name = '']) => [name, Number(calls)]));
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio', 'strace'))('a request', () => {
  let scratch: Scratch;
  let image: Attached;

  beforeEach(async () => {
    scratch = await makeScratch();
    image = await attach(scratch, await createImage(scratch, 'image', 256 * MIB), { sectorSizeBytes: 4096 });
  });
  afterEach(() => scratch.clean());

  const callsOf = async (...args: string[]): Promise<{ perRequest: number; turns: number; names: string[] }> => {
    await fio(image.device, '--rw=write', '--bs=1M', '--iodepth=4', `--size=${PLACE}`);
    const calls = await countCalls(image.worker, scratch.path('strace'), () =>
      fio(image.device, '--bs=4k', `--size=${PLACE}`, `--io_size=${REQUESTS * 4096}`, ...args),
    );
    const sum = [...calls.values()].reduce((total, count) => total + count, 0);
    return { perRequest: sum / REQUESTS, turns: (calls.get('io_uring_enter') ?? 0) / REQUESTS, names: [...calls.keys()].toSorted() };
  };

  it.each(['randread', 'randwrite'])('costs three system calls at depth 1 (%s)', async (rw) => {
    const { perRequest, names } = await callsOf(`--rw=${rw}`, '--iodepth=1');
    expect(names).toEqual(expect.arrayContaining(['io_uring_enter', 'read']));
    expect(perRequest).toBeGreaterThan(1);
    expect(perRequest).toBeLessThan(3.3);
  });

  it.each(['randread', 'randwrite'])('costs half of that at depth 32, and goes to the disk together with others (%s)', async (rw) => {
    const { perRequest, turns } = await callsOf(`--rw=${rw}`, '--iodepth=32');
    expect(perRequest).toBeLessThan(1.6);
    expect(turns).toBeLessThan(0.4);
  });

  it('takes the space of its data when it is the first over a base, and hardly more', async () => {
    await fio(image.device, '--rw=write', '--bs=1M', '--iodepth=4');
    await takeSnapshot(image.dir, { runDir: scratch.runDir });
    const before = await hostBytes(image.dir);
    await fio(image.device, '--rw=randwrite', '--bs=4k', '--iodepth=16', '--io_size=32M', '--end_fsync=1');
    expect((await hostBytes(image.dir)) - before).toBeLessThan(1.1 * 32 * MIB);
  });
});
