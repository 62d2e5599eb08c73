// SPDX-License-Identifier: Apache-2.0
// ploop set --discard on a device in use: what blkdiscard gives back by policy, and that it reads as zeros with each.
import { open } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;
const CLUSTER = 256 * 1024;

let dir: string;
scratchPerTest((places) => void ({ image: dir } = places));

async function hostBytes(device: string): Promise<number> {
  await run('sync', [device]);
  return (await ploop('info', dir, '--json')).json<{ hostBytes: number }>().hostBytes;
}

async function discarded(device: string, offset: number, length: number): Promise<number> {
  const before = await hostBytes(device);
  await run('blkdiscard', ['--offset', String(offset), '--length', String(length), device]);
  const after = await hostBytes(device);
  const file = await open(device, 'r');
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
  await file.close();
  expect(buffer.equals(Buffer.alloc(length))).toBe(true);
  return before - after;
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('the discard policy of an image', () => {
  it('is changed while the device is in use, and kept', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    const { device } = (await ploop('attach', dir, '--json')).json<{ device: string }>();
    await run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=4', 'oflag=direct']);
    // Part of a cluster. (The host may need a block more to note what is unwritten now.)
    expect(Math.abs((await discarded(device, 4096, CLUSTER / 4)) - CLUSTER / 4)).toBeLessThanOrEqual(8192);
    const set = await ploop('set', dir, '--discard', 'cluster', '--json');
    expect(differences('ploop set', set.json())).toEqual([]);
    expect(Math.abs(await discarded(device, MIB + 4096, CLUSTER))).toBeLessThanOrEqual(8192);
    expect(Math.abs((await discarded(device, MIB, 2 * CLUSTER)) - 2 * CLUSTER)).toBeLessThanOrEqual(8192);
    expect(await ploop('set', dir, '--discard', 'off')).toMatchObject({ status: 0 });
    expect(Math.abs(await discarded(device, 2 * MIB, MIB))).toBeLessThanOrEqual(8192);
    expect((await ploop('info', dir)).stdout).toMatch(/discards give +nothing back to the host/);
    await ploop('detach', dir);
    expect((await native.info(dir)).discard).toBe('off');
    expect(await ploop('set', dir, '--discard', 'block')).toMatchObject({ status: 0 });
    expect((await native.info(dir)).discard).toBe('block');
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });

  it('is one of three words; and something has to be set', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    expect(await ploop('set', dir, '--discard', 'now')).toMatchObject({ status: 2 });
    expect(await ploop('set', dir)).toMatchObject({ status: 2, stderr: expect.stringContaining('--discard') as string });
    expect(await ploop('set', dir, '--on-full', 'error')).toMatchObject({ status: 12 });
  });
});
