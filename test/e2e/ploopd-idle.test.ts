// SPDX-License-Identifier: Apache-2.0
// What an attached image costs while nobody uses it: no wake-ups, little memory.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, createImage } from './device.js';

async function field(pid: number, file: string, name: string): Promise<number> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('an idle attachment', () => {
  let scratch: Scratch;

  beforeEach(async () => {
    scratch = await makeScratch();
  });
  afterEach(() => scratch.clean());

  it('wakes up never and keeps less than 4 MiB, and 1 MiB of its own, also after heavy use', async () => {
    const image = await attach(scratch, await createImage(scratch, 'image', 512 * 2 ** 20));
    await run('dd', ['if=/dev/zero', `of=${image.device}`, 'bs=16M', 'count=24', 'oflag=direct', 'conv=fsync', 'status=none']);
    const pids = [image.keeper, image.worker];
    const sum = async (file: string, ...names: string[]): Promise<number> => {
      const all = await Promise.all(pids.flatMap((pid) => names.map((name) => field(pid, file, name))));
      return all.reduce((total, one) => total + one, 0);
    };
    // It gives memory back some seconds after the last request.
    await expect.poll(() => sum('smaps_rollup', 'Private_Dirty'), { interval: 200 }).toBeLessThan(1024);
    expect(await sum('smaps_rollup', 'Rss')).toBeLessThan(4096);
    // Others on the host may look at the device; whoever wakes up by himself does so in every one of the pauses.
    const inPause = async (): Promise<number> => {
      const switches = (): Promise<number> => sum('status', 'voluntary_ctxt_switches', 'nonvoluntary_ctxt_switches');
      const before = await switches();
      await sleep(4000);
      return (await switches()) - before;
    };
    await expect.poll(inPause, { interval: 0, timeout: 60_000 }).toBe(0);
  });

  it('maps four libraries and the loader, and no more', async () => {
    const image = await attach(scratch, await createImage(scratch, 'image', 64 * 2 ** 20));
    for (const pid of [image.keeper, image.worker]) {
      const files = (await readFile(`/proc/${pid}/maps`, 'utf8')).matchAll(/\/(ld-linux|lib\w+)[-\w]*\.so/g);
      const names = new Set([...files].map(([, name]) => name));
      expect([...names].toSorted()).toEqual(['ld-linux', 'libc', 'libisal', 'libjansson', 'liburing']);
    }
  });

  it('keeps little for a terabyte in 64 layers that hold nothing', async () => {
    const dir = await createImage(scratch, 'layers', 2 ** 40);
    for (let layer = 1; layer < 64; layer++) await native.snapshot(dir);
    const { worker } = await attach(scratch, dir);
    expect(await field(worker, 'smaps_rollup', 'Pss')).toBeLessThan(6 * 1024);
  });
});
