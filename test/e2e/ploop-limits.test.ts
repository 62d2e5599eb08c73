// SPDX-License-Identifier: Apache-2.0
// Limits on a device: what waits for them, across a killed worker, until they are taken away; and that nothing hangs in them.
import { open } from 'node:fs/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment, type Attachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import type { ControlOperations } from '../../src/attach/control-operations.js';
import { run } from '../../src/exec/run.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const PATIENCE = { timeout: 30_000 };
const SLOWEST = ['--bps', '64K'];

let scratch: Scratch;
let dir: string;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = scratch.path('image');
  await ploop('create', dir, '--size', '1G', '--fs', 'none');
});
afterEach(async () => {
  // What waits would keep the device open.
  await ploop('set', dir, '--iops', 'none', '--bps', 'none');
  await scratch.clean();
});

async function attached(...args: string[]): Promise<string> {
  return (await ploop('attach', dir, ...args, '--json')).json<{ device: string }>().device;
}

async function attachment(): Promise<Attachment> {
  const found = await findAttachment(dir);
  if (found === null) throw new Error(`${dir} is not attached`);
  return found;
}

async function stats(): Promise<ControlOperations['stats'][1]> {
  return control(await attachment(), 'stats', {});
}

interface Writing {
  mib?: number;
  signal?: AbortSignal;
}

/** 64 MiB at once: a quarter of an hour at 64 KiB a second. Returns when requests wait. */
async function writing(device: string, { mib = 64, signal }: Writing = {}): Promise<{ exitCode: Promise<number | null> }> {
  const dd = run('dd', ['if=/dev/zero', `of=${device}`, `bs=${mib}M`, 'count=1', 'oflag=direct', 'status=none'], { accept: 'any', signal });
  const exitCode = dd.then(
    (done) => done.exitCode,
    () => null,
  );
  await expect.poll(async () => (await stats()).waiting, PATIENCE).toBeGreaterThan(0);
  return { exitCode };
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio'))('limits on a device', () => {
  it('are given when it is attached, shown, and changed while it is in use', async () => {
    await attached('--iops', '500', '--bps', '20M');
    const info = await ploop('info', dir, '--json');
    expect(differences('ploop info', info.json())).toEqual([]);
    expect(info.json()).toMatchObject({ attachments: [{ iops: 500, bps: 20 * 2 ** 20 }] });
    expect((await ploop('info', dir)).stdout).toMatch(/at most 500 operations and 20 MiB a second/);
    const set = await ploop('set', dir, '--iops', 'none', '--json');
    expect(differences('ploop set', set.json())).toEqual([]);
    expect(set.json()).toMatchObject({ iops: null, bps: 20 * 2 ** 20, onFull: 'pause' });
    expect((await ploop('stat', dir)).stdout).toMatch(/limited to +20 MiB a second\n.*waiting +0 requests/);
    expect((await ploop('stat', dir, '--json')).json()).toMatchObject({ io: { iops: null, bps: 20 * 2 ** 20, waiting: 0 } });
    await expect.poll(async () => (await attachment()).iops, PATIENCE).toBe(null);
  });

  it('hold requests back, also in the next worker, until they are taken away', async () => {
    const { exitCode } = await writing(await attached(...SLOWEST));
    const { worker } = await attachment();
    process.kill(worker, 'SIGKILL');
    await expect.poll(async () => (await attachment()).worker, PATIENCE).not.toBe(worker);
    await expect.poll(async () => (await stats()).waiting, PATIENCE).toBeGreaterThan(0);
    expect(await stats()).toMatchObject({ bps: 65536, iops: null });
    expect(await ploop('set', dir, '--bps', 'none')).toMatchObject({ status: 0 });
    expect(await exitCode).toBe(0);
    expect(await stats()).toMatchObject({ bps: null, waiting: 0 });
  });

  it('count operations, however small they are', async () => {
    const device = await attached('--iops', '10');
    const load = ['--name=small', `--filename=${device}`, '--rw=randwrite', '--bs=4k', '--size=256k', '--ioengine=libaio', '--direct=1'];
    const fio = run('fio', [...load, '--iodepth=64'], { timeoutMs: 120_000 });
    // 64 at once: one or two go, the others wait.
    await expect.poll(async () => (await stats()).waiting, PATIENCE).toBeGreaterThan(16);
    expect(await ploop('set', dir, '--iops', 'none')).toMatchObject({ status: 0 });
    await fio;
    expect(await stats()).toMatchObject({ iops: null, waiting: 0 });
  });

  it('let no more bytes through than they say', async () => {
    const device = await attached('--bps', '256K');
    const begun = performance.now();
    await run('dd', ['if=/dev/zero', `of=${device}`, 'bs=64k', 'count=20', 'oflag=direct', 'status=none'], { timeoutMs: 120_000 });
    // 20 x 64 KiB, the last of which is paid for afterwards, and a tenth of a second's free: no machine is too slow for that.
    expect(performance.now() - begun).toBeGreaterThan(4000);
  });

  it('come along when another program takes the device over', async () => {
    const { exitCode } = await writing(await attached(...SLOWEST));
    const { worker } = await attachment();
    expect(await ploop('upgrade', dir)).toMatchObject({ status: 0 });
    expect((await attachment()).worker).not.toBe(worker);
    expect(await stats()).toMatchObject({ bps: 65536 });
    expect(await ploop('set', dir, '--bps', 'none')).toMatchObject({ status: 0 });
    expect(await exitCode).toBe(0);
  });

  it('do not keep what a killed process left behind from being detached', async () => {
    const killed = new AbortController();
    const { exitCode } = await writing(await attached(...SLOWEST), { signal: killed.signal });
    killed.abort();
    await expect.poll(async () => (await ploop('detach', dir)).status, PATIENCE).toBe(0);
    await exitCode;
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });

  it('are as before when a detach was refused', async () => {
    const device = await attached(...SLOWEST);
    const user = await open(device, 'r');
    try {
      // So little that it ends also when some of it comes after the detach.
      const { exitCode } = await writing(device, { mib: 4 });
      expect(await ploop('detach', dir)).toMatchObject({ status: 13 });
      expect(await stats()).toMatchObject({ bps: 65536, iops: null });
      await exitCode;
    } finally {
      await user.close();
    }
    expect(await ploop('detach', dir)).toMatchObject({ status: 0 });
  });

  it('are numbers that make sense, of an image that is attached', async () => {
    expect(await ploop('set', dir, '--iops', '5')).toMatchObject({ status: 12, stderr: expect.stringContaining('--iops') as string });
    expect(await ploop('attach', dir, '--iops', '0')).toMatchObject({ status: 2 });
    expect(await ploop('attach', dir, '--bps', '4K')).toMatchObject({ status: 2, stderr: expect.stringContaining('64K') as string });
    await attached();
    const { bps, iops } = await stats();
    expect({ bps, iops }).toEqual({ bps: null, iops: null });
    await expect(control(await attachment(), 'set', { bps: 512 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
