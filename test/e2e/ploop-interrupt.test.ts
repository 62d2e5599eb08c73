// SPDX-License-Identifier: Apache-2.0
// Control-C in the middle of `ploop create`: nothing is left of it; of `ploop snapshot-delete`: it can go on.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { readMounts } from '../../src/attach/mounts.js';
import { deleteSnapshot } from '../../src/attach/jobs.js';
import { native } from '../../src/native/index.js';
import { ploop, startCommand } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

let scratch: Scratch;
let source: string;

beforeAll(async () => {
  source = await mkdtemp(join(tmpdir(), 'ploop-test-source-'));
  for (let i = 0; i < 40; i++) await writeFile(join(source, `file${i}`), randomBytes(2 ** 22));
});
afterAll(() => rm(source, { recursive: true }));
beforeEach(async () => {
  scratch = await makeScratch();
});
afterEach(() => scratch.clean());

async function left(): Promise<object> {
  const mounts = (await readMounts()).filter((mount) => mount.mountPoint.startsWith(scratch.directory));
  return { attachments: await listAttachments(), mounts };
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('an interrupted create', () => {
  it.each([20, 150, 300, 500, 800, 1200])('leaves nothing (Control-C after %i ms)', async (delayMs) => {
    const dir = scratch.path('image');
    const { signalGroup, ended } = startCommand('ploop', ['create', dir, '--size', '1G', '--from', source, '--json']);
    await sleep(delayMs);
    signalGroup('SIGINT');
    const outcome = await ended;
    // Too early for a handler: the signal itself. Too late: it was done.
    if (outcome.status === 0) return;
    expect(outcome.signal === 'SIGINT' || outcome.status === 130, JSON.stringify(outcome)).toBe(true);
    expect(existsSync(dir)).toBe(false);
    expect(await left()).toEqual({ attachments: [], mounts: [] });
  });

  it('leaves a directory that was there before, empty', async () => {
    const dir = scratch.path('there');
    await mkdir(dir);
    const { child, ended } = startCommand('ploop', ['create', dir, '--size', '1G', '--from', source]);
    await expect.poll(() => existsSync(`${dir}/image.json`), { interval: 5 }).toBe(true);
    child.kill('SIGTERM');
    expect((await ended).status).toBe(130);
    expect(await readdir(dir)).toEqual([]);
    expect(await left()).toEqual({ attachments: [], mounts: [] });
  });
});

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('a create that was killed', () => {
  it.each([150, 400, 700, 1100])('does not stand in the way of the next one (SIGKILL after %i ms)', async (delayMs) => {
    const dir = scratch.path('image');
    const words = ['create', dir, '--size', '1G', '--from', source, '--json'];
    const { signalGroup, ended } = startCommand('ploop', words);
    await sleep(delayMs);
    signalGroup('SIGKILL');
    if ((await ended).status === 0) return;
    const again = await ploop(...words);
    expect(again, again.stderr).toMatchObject({ status: 0 });
    expect((await readdir(dir)).sort()).toEqual(['image.json', 'layers', 'lock']);
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
    expect(await left()).toEqual({ attachments: [], mounts: [] });
  });

  it('does not stand in the way when it died before it had said who it was', async () => {
    const dir = scratch.path('image');
    await mkdir(dir);
    await writeFile(`${dir}/creating.4711`, '{"host":');
    expect(await ploop('create', dir, '--size', '1G', '--fs', 'none')).toMatchObject({ status: 0 });
    expect((await readdir(dir)).sort()).toEqual(['image.json', 'layers', 'lock']);
  });

  it('is not taken for dead while it is at work', async () => {
    const dir = scratch.path('image');
    const { child, ended } = startCommand('ploop', ['create', dir, '--size', '1G', '--from', source]);
    await expect.poll(() => existsSync(`${dir}/creating`), { interval: 5 }).toBe(true);
    // The command, not what serves its image: it stays at work as long as the other needs.
    child.kill('SIGSTOP');
    const second = await ploop('create', dir, '--size', '1G');
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    await ended;
    expect(second).toMatchObject({ status: 10, stderr: expect.stringMatching(/is being made/) as string });
  });
});

describe.skipIf(lacks('root', 'fuse', 'loop'))('an interrupted snapshot-delete', () => {
  it('loses nothing, and the same command goes on with it', async () => {
    const dir = scratch.path('image');
    await ploop('create', dir, '--size', '1G', '--fs', 'none');
    const { device } = (await ploop('attach', dir, '--json')).json<{ device: string }>();
    const disk = await open(device, 'r+');
    const content = randomBytes(8 * 2 ** 20);
    for (let at = 0; at < 16; at++) await disk.write(content, 0, content.length, at * content.length);
    await disk.sync();
    await ploop('snapshot', dir, '--name', 'one');
    // More than the snapshot has, so that its layer is what moves.
    for (let at = 32; at < 50; at++) await disk.write(content, 0, content.length, at * content.length);
    await disk.sync();
    await disk.close();
    await ploop('detach', dir);

    const stop = new AbortController();
    const work = deleteSnapshot(dir, 'one', { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(work).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect((await ploop('check', dir)).status).toBe(0);
    await everywhere(dir, content);
    expect((await native.info(dir)).layers).toHaveLength(2);

    expect(await ploop('snapshot-delete', dir, 'one')).toMatchObject({ status: 0 });
    expect((await native.info(dir)).layers).toHaveLength(1);
    await everywhere(dir, content);
  });
});

async function everywhere(dir: string, content: Buffer): Promise<void> {
  await using reader = await native.openReader(dir);
  for (let at = 0; at < 16; at++) expect((await reader.read(at * content.length, content.length)).equals(content)).toBe(true);
}
