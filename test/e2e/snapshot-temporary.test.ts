// SPDX-License-Identifier: Apache-2.0
// Temporary snapshots go with their holder, by the next command that works on the image, and not before (FMT-118).
import { mkdir, readFile, writeFile } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { deleteSnapshot, listJobs, waitJob } from '../../src/attach/jobs.js';
import { consistentSnapshot } from '../../src/filesystem/image/snapshot.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { readDescriptor } from '../helpers/reader/descriptor.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { createImage } from './device.js';
import { holderPerTest } from './holder.js';

let dir: string;
const scratch = scratchPerTest(async (places) => {
  dir = await createImage(places, 'image', 64 * 2 ** 20);
});
const holder = holderPerTest();

const names = async (): Promise<(string | null)[]> => (await listSnapshots(dir)).map((one) => one.name);

/** Of an image that is attached or not. */
async function take(name: string): Promise<string> {
  const taken = await ploop('snapshot', dir, '--temporary', '--holder', holder.pid, '--name', name, '--json');
  expect(differences('ploop snapshot', taken.json())).toEqual([]);
  return taken.json<{ id: string }>().id;
}

/** The kept holders as after something that a test can't make happen. */
async function rewriteHolder(change: (parts: string[]) => string[]): Promise<void> {
  const path = `${dir}/image.json`;
  const text = (await readFile(path, 'utf8')).replace(
    /"holder": "([^"]+)"/,
    (_, was: string) => `"holder": "${change(was.split(':')).join(':')}"`,
  );
  await writeFile(path, text);
}

const part = (index: number, value: string) => (parts: string[]) => parts.map((one, at) => (at === index ? value : one));

/** What any command that works on the image does at its end, without changing it otherwise. */
async function nextCommand(): Promise<(string | null)[]> {
  const { id } = await consistentSnapshot(dir, { runDir: scratch.runDir, name: 'next' });
  await deleteSnapshot(dir, id, { runDir: scratch.runDir });
  return names();
}

describe('temporary snapshots of a detached image', () => {
  it('stay while their holder runs, and are merged away by the next command after that', async () => {
    await take('held');
    await ploop('snapshot', dir, '--name', 'for ever');
    expect(await nextCommand()).toEqual(['held', 'for ever']);
    readDescriptor(dir);
    await holder.end();
    const list = await ploop('snapshot-list', dir, '--json');
    expect(differences('ploop snapshot-list', list.json())).toEqual([]);
    expect(list.json<{ snapshots: { gone: boolean }[] }>().snapshots.map(({ gone }) => gone)).toEqual([true, false]);
    expect((await ploop('snapshot-list', dir)).stdout).toMatch(/gone +held/);
    expect(await nextCommand()).toEqual(['for ever']);
    expect((await native.info(dir)).layers).toHaveLength(2);
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });

  it.each([
    ['the host was started anew', part(3, '00000000-0000-4000-8000-000000000000'), []],
    ['the process id is used again', part(2, '1'), []],
    ['the process can not be looked at from here', part(4, '1'), ['held']],
    ['the holder is of a kind that is not known', () => ['vm', '12'], ['held']],
  ])('when %s', async (_, change, left) => {
    await take('held');
    await rewriteHolder(change);
    expect(await nextCommand()).toEqual(left);
  });

  it('have the process that ran the command as holder unless told otherwise; it must be one, and only they have one', async () => {
    await ploop('snapshot', dir, '--temporary');
    expect((await ploop('snapshot-list', dir)).stdout).toContain(`pid ${process.pid}`);
    expect(await ploop('snapshot', dir, '--holder', String(process.pid))).toMatchObject({ status: 2 });
    expect(await ploop('snapshot', dir, '--temporary', '--holder', 'me')).toMatchObject({ status: 2 });
    await holder.end();
    const refused = await ploop('snapshot', dir, '--temporary', '--holder', holder.pid);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('no process') as string });
    expect(await names()).toHaveLength(1);
  });

  it('are not temporary in a clone', async () => {
    await take('held');
    await ploop('clone', dir, scratch.path('clone'), '--snapshot', 'held');
    await holder.end();
    expect(await nextCommand()).toEqual([]);
    expect(await ploop('check', scratch.path('clone'))).toMatchObject({ status: 0 });
    expect(await listSnapshots(scratch.path('clone'))).toEqual([]);
  });
});

describe.skipIf(lacks('root', 'fuse', 'loop'))('temporary snapshots of an attached image', () => {
  it('stay while they are attached themselves, then go with the detach', async () => {
    await ploop('attach', dir);
    const id = await take('held');
    await ploop('attach', dir, '--snapshot', 'held');
    await holder.end();
    expect(await nextCommand()).toEqual(['held']);
    await ploop('detach', dir, '--snapshot', 'held');
    expect(await names()).toEqual([]);
    if ((await listJobs(dir, { runDir: scratch.runDir })).length > 0) await waitJob(dir, id, { runDir: scratch.runDir });
    expect((await native.info(dir, { lock: false })).layers).toHaveLength(1);
  });

  it.each([
    ['attach', ['detach'], ['attach']],
    ['compact', [], ['compact', '--no-trim']],
    ['detach', [], ['detach']],
  ])('go with the next %s', async (_, first, then) => {
    await ploop('attach', dir);
    await take('held');
    for (const command of first) await ploop(command, dir);
    await holder.end();
    const [command = '', ...more] = then;
    expect(await ploop(command, dir, ...more)).toMatchObject({ status: 0, stderr: expect.not.stringContaining('stays') as string });
    expect(await names()).toEqual([]);
  });

  it('show a mounted file system, and go with the umount', async () => {
    const [place, at] = [scratch.mountPoint, scratch.path('then')];
    await mkdir(at);
    dir = scratch.path('fs');
    await ploop('create', dir, '--size', '64M', '--fs', 'ext4');
    await ploop('mount', dir, place);
    await writeFile(`${place}/a`, 'then');
    await take('held');
    await writeFile(`${place}/a`, 'now');
    await ploop('mount', dir, at, '--snapshot', 'held');
    await holder.end();
    expect(await ploop('compact', dir, '--no-trim')).toMatchObject({ status: 0 });
    expect(await readFile(`${at}/a`, 'utf8')).toBe('then');
    expect(await ploop('umount', at)).toMatchObject({ status: 0 });
    expect(await names()).toEqual([]);
    expect(await readFile(`${place}/a`, 'utf8')).toBe('now');
    expect(await ploop('umount', place)).toMatchObject({ status: 0 });
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });
});
