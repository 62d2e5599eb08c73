// SPDX-License-Identifier: Apache-2.0
// The run directory as it may be found: attachments alive, dead, half-written, and what is none.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { attachmentsOf, findAttachment, listAttachments } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { runDirectory } from '../../src/attach/run-directory.js';
import { native } from '../../src/native/index.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const IMAGE = '11111111-2222-4333-8444-555555555555';
const SNAPSHOT = '99999999-2222-4333-8444-555555555555';

let scratch: Scratch;
const keepers: ChildProcess[] = [];

beforeEach(async () => {
  scratch = await makeScratch();
});
afterEach(async () => {
  for (const keeper of keepers.splice(0)) {
    keeper.kill('SIGKILL');
    if (keeper.exitCode === null && keeper.signalCode === null) await once(keeper, 'exit');
  }
  // What these tests made up has no device: nothing to detach.
  await rm(scratch.runDir, { recursive: true });
  await scratch.clean();
});

async function entry(name: string, state: object, options: { alive: boolean }): Promise<string> {
  const folder = `${scratch.runDir}/${name}`;
  await mkdir(folder);
  await writeFile(`${folder}/keeper.pid`, '1\n');
  await writeFile(`${folder}/state.json`, JSON.stringify(state));
  if (options.alive) await hold(`${folder}/keeper.pid`);
  return folder;
}

/** A real process with a real lock, as a keeper holds it. */
async function hold(path: string): Promise<void> {
  const words = ['--exclusive', '--no-fork', path, 'sh', '-c', 'echo held; exec sleep 1000'];
  const keeper = spawn('flock', words, { stdio: ['ignore', 'pipe', 'ignore'] });
  keepers.push(keeper);
  if (keeper.stdout !== null) await once(keeper.stdout, 'data');
}

const state = (more: object): object => ({
  version: 1,
  image: IMAGE,
  directory: '/a/b',
  state: 'running',
  since: '2026-11-20T10:00:00Z',
  ...more,
});

describe('attachments', () => {
  it('are none without a run directory', async () => {
    expect(await listAttachments({ runDir: scratch.path('nowhere') })).toEqual([]);
  });

  it('are live while the keeper holds its lock, and dead after it was killed', async () => {
    await entry(IMAGE, state({ device: '/dev/loop77', devno: '7:77', keeper: 1, worker: 2 }), { alive: true });
    expect(await listAttachments()).toMatchObject([{ attachment: IMAGE, live: true, state: 'running', device: '/dev/loop77' }]);
    const [keeper] = keepers.splice(0);
    keeper?.kill('SIGKILL');
    await expect.poll(async () => (await listAttachments())[0]?.state).toBe('dead');
    const [dead] = await listAttachments();
    if (dead === undefined) throw new Error('gone');
    await expect(control(dead, 'ping', {})).rejects.toMatchObject({ code: 'DAEMON', hint: expect.stringContaining('ploop detach /a/b') });
  });

  it('are found by the image, the top before its snapshots', async () => {
    const dir = scratch.path('image');
    await native.create(dir, { size: 2 ** 20 });
    const { id } = await native.info(dir);
    await entry(`${id}@${SNAPSHOT}`, state({ image: id, snapshot: SNAPSHOT, since: '2026-11-20T09:00:00Z' }), { alive: false });
    await entry(id, state({ image: id }), { alive: false });
    await entry(IMAGE, state({}), { alive: false });
    expect((await attachmentsOf(dir)).map((one) => one.snapshot)).toEqual([null, SNAPSHOT]);
    expect((await findAttachment(dir, { snapshot: SNAPSHOT }))?.attachment).toBe(`${id}@${SNAPSHOT}`);
  });

  it('pass over what is none, and over one that has no state yet', async () => {
    await mkdir(`${scratch.runDir}/temporary`);
    await mkdir(`${scratch.runDir}/${IMAGE}`);
    expect(await listAttachments()).toEqual([]);
  });

  it('say which state file is garbage', async () => {
    await entry(IMAGE, {}, { alive: false });
    await writeFile(`${scratch.runDir}/${IMAGE}/state.json`, '{"version":');
    await expect(listAttachments()).rejects.toMatchObject({
      code: 'DAEMON',
      message: expect.stringContaining(`${IMAGE}/state.json is not JSON`),
    });
  });
});

describe('the run directory', () => {
  it('is the one given, or that of the environment', () => {
    expect(runDirectory({ runDir: '/x/../y' })).toBe('/y');
    expect(runDirectory()).toBe(scratch.runDir);
    expect(runDirectory({ runDir: '' })).toBe(scratch.runDir);
  });
});
