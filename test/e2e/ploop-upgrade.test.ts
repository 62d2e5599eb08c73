// SPDX-License-Identifier: Apache-2.0
// ploop upgrade and ploop recover: the running daemon replaced under load, and a keeper that was killed.
import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage } from './device.js';

const MIB = 2 ** 20;
const UPGRADES = 8;
const FIO = ['--name=verify', '--rw=randrw', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--size=64M', '--bs=4k'].concat(
  ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'], // a first difference ends it
);

interface Upgraded {
  upgraded: { keeper: number; worker: number; handoverMs: number }[];
}

let scratch: Scratch;
let image: Attached;

beforeEach(async () => {
  scratch = await makeScratch();
  image = await attach(scratch, await createImage(scratch, 'image', 256 * MIB));
});
afterEach(() => scratch.clean());

const dd = (from: string, to: string, ...more: string[]): Promise<unknown> =>
  run('dd', [`if=${from}`, `of=${to}`, 'bs=64k', 'count=64', 'status=none', ...more]);

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio'))('ploop upgrade', () => {
  it('replaces keeper and worker under fio --verify, time after time, without an error', async () => {
    const done = new AbortController();
    const load = (async (): Promise<void> => {
      while (!done.signal.aborted) await run('fio', [...FIO, `--filename=${image.device}`]);
    })();
    const times: number[] = [];
    let before = { keeper: image.keeper, worker: image.worker };
    for (let n = 0; n < UPGRADES; n++) {
      const answer = await ploop('upgrade', image.dir, '--json');
      expect(answer.status, answer.stderr).toBe(0);
      const [now] = answer.json<Upgraded>().upgraded;
      expect(now?.keeper).not.toBe(before.keeper);
      expect(now?.worker).not.toBe(before.worker);
      before = { keeper: now?.keeper ?? 0, worker: now?.worker ?? 0 };
      times.push(now?.handoverMs ?? NaN);
    }
    done.abort();
    await load;
    times.sort((a, b) => a - b);
    process.stdout.write(`hand-over: p50 ${times[UPGRADES / 2]} ms, max ${times.at(-1)} ms of ${UPGRADES}\n`);
    expect(await findAttachment(image.dir)).toMatchObject({ state: 'running', restarts: 0, lastError: null, ...before });
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('keeps what was written and not flushed, and restarts its worker as before', async () => {
    const data = scratch.path('data');
    await dd('/dev/urandom', data);
    await dd(data, image.device, 'oflag=direct');
    expect(await ploop('upgrade', '--all')).toMatchObject({ status: 0 });
    await image.killWorker();
    await run('cmp', ['-n', String(4 * MIB), data, image.device]);
  });

  it('is done by one at a time', async () => {
    const answers = await Promise.all([ploop('upgrade', image.dir), ploop('upgrade', image.dir), ploop('upgrade', image.dir)]);
    expect(answers.map((one) => one.status)).toContain(0);
    // The others came too late, or later.
    expect(answers.filter((one) => one.status !== 0 && one.status !== 10)).toEqual([]);
    await dd('/dev/zero', image.device, 'oflag=direct');
    const { keeper, worker } = await image.state();
    const pids = (await run('pgrep', ['-f', `of ${image.dir}$`])).stdout.trim().split('\n').map(Number);
    expect(pids.sort((a, b) => a - b)).toEqual([keeper, worker].sort((a, b) => a - b));
  });
});

describe.skipIf(lacks('root', 'fuse', 'loop'))('an image whose keeper was killed', () => {
  it('is told by info and list, and gets a new one by recover, which restarts the worker again', async () => {
    await endPloopd(image.keeper);
    expect(await findAttachment(image.dir)).toMatchObject({ state: 'orphan' });
    expect(await ploop('list')).toMatchObject({ status: 21, stdout: expect.stringMatching(/orphan/) as string });
    expect(await ploop('info', image.dir)).toMatchObject({ status: 21, stdout: expect.stringMatching(/ploop recover/) as string });
    expect(await ploop('recover', image.dir)).toMatchObject({ status: 0 });
    expect(await image.state()).toMatchObject({ state: 'running', worker: image.worker });
    const { restarts } = await image.state();
    await image.killWorker();
    expect(await image.state()).toMatchObject({ state: 'running', restarts: restarts + 1 });
    await dd('/dev/zero', image.device, 'oflag=direct');
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
  });

  it('is detached cleanly by the keeper that recover gave it', async () => {
    await endPloopd(image.keeper);
    expect(await ploop('recover', image.dir)).toMatchObject({ status: 0 });
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
    expect((await native.check(image.dir)).findings).toEqual([]);
  });
});
