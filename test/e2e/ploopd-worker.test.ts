// SPDX-License-Identifier: Apache-2.0
// The worker of an attached image killed with SIGKILL, under load: the device never sees an error.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { control } from '../../src/attach/control.js';
import { findAttachment } from '../../src/attach/attachments.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, createImage } from './device.js';

const MIB = 2 ** 20;
const FIO = ['--name=verify', '--rw=randrw', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--size=96M'].concat(
  ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'], // a first difference ends it
);

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio'))('a worker that is killed', () => {
  let scratch: Scratch;
  let dir: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    dir = await createImage(scratch, 'image', 512 * MIB);
  });
  afterEach(() => scratch.clean());

  it('causes no error and loses nothing under fio --verify, six times', async () => {
    const image = await attach(scratch, dir);
    const done = new AbortController();
    const load = (async (): Promise<number> => {
      let passes = 0;
      // One fio per pass: it can not verify what it wrote twice, on any device.
      for (; !done.signal.aborted; passes++)
        await run('fio', [...FIO, `--filename=${image.device}`, `--bs=${['4k', '64k', '16k'][passes % 3]}`]);
      return passes;
    })();
    for (let kill = 0; kill < 6; kill++) {
      await sleep(1500);
      process.kill(image.keeper, 'SIGUSR1'); // forgets the deaths before, of which five are too many
      await image.killWorker();
    }
    done.abort();
    expect(await load).toBeGreaterThan(0);
    expect(await image.state()).toMatchObject({ state: 'running', restarts: 6 });
    await image.detach();
    expect((await native.check(dir)).findings).toEqual([]);
  });

  it('loses no write that was acknowledged and not flushed, also above a snapshot', async () => {
    const image = await attach(scratch, dir);
    const data = join(scratch.directory, 'data');
    const attachment = await findAttachment(dir, { runDir: scratch.runDir });
    if (attachment === null) throw new Error('not attached');
    await run('dd', ['if=/dev/urandom', `of=${data}`, 'bs=1M', 'count=48', 'status=none']);
    for (const part of [0, 16, 32]) {
      const range = ['bs=64k', `skip=${part * 16}`, `seek=${part * 16}`, 'count=256', 'oflag=direct', 'conv=notrunc', 'status=none'];
      await run('dd', [`if=${data}`, `of=${image.device}`, ...range]);
      await image.killWorker();
      await control(attachment, 'snapshot', {});
    }
    await image.killWorker();
    await run('cmp', ['-n', String(48 * MIB), data, image.device]);
    await image.detach();
    expect((await native.check(dir)).findings).toEqual([]);
  });

  it('is left alone after five deaths in ten seconds, and tried again on SIGUSR1', async () => {
    const image = await attach(scratch, dir);
    const seen = new Set<number>();
    // Five when the machine is quick enough for five in ten seconds.
    const killed = async (): Promise<string> => {
      const { state, worker } = await image.state();
      if (state === 'running' && !seen.has(worker)) process.kill(worker, 'SIGKILL');
      seen.add(worker);
      return state;
    };
    await expect.poll(killed, { interval: 10, timeout: 60_000 }).toBe('stopped');
    const { restarts } = await image.state();
    expect(restarts).toBeGreaterThanOrEqual(5);
    const waiting = run('dd', ['if=/dev/zero', `of=${image.device}`, 'bs=4k', 'count=1', 'oflag=direct', 'status=none']);
    await expect(image.detach()).rejects.toMatchObject({ code: 'DAEMON', hint: /ploop recover/ });
    process.kill(image.keeper, 'SIGUSR1');
    expect((await waiting).exitCode).toBe(0);
    expect(await image.state()).toMatchObject({ state: 'running', restarts });
    expect((await image.state()).lastError).toMatch(/killed by signal 9/);
  });

  it('ignores SIGTERM while its device is there, and says so in its log', async () => {
    const image = await attach(scratch, dir);
    process.kill(image.worker, 'SIGTERM');
    process.kill(image.keeper, 'SIGTERM');
    const log = (): Promise<string> => readFile(join(image.folder, 'log'), 'utf8');
    await expect.poll(log).toMatch(/SIGTERM ignored: the device is in use/);
    expect(await image.state()).toMatchObject({ state: 'running', restarts: 0 });
  });

  it('does not start with a damaged image, and says what is wrong', async () => {
    const top = (await native.info(dir)).top;
    await writeFile(join(dir, 'layers', `${top}.plp`), Buffer.alloc(8192), { flag: 'r+' });
    await expect(attach(scratch, dir)).rejects.toMatchObject({ code: expect.stringMatching(/CORRUPT|NOT_AN_IMAGE/) as string });
    expect(await findAttachment(dir, { runDir: scratch.runDir })).toBeNull();
  });
});
