// SPDX-License-Identifier: Apache-2.0
// `ploop copy`: detached, mounted and written, to another "host" through a stand-in for ssh, interrupted and given again.
import { appendFile, chmod, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { CopiedImage } from '../../src/stream/copy.js';
import { native } from '../../src/native/index.js';
import { ploop, startCommand } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const MIB = 2 ** 20;

let scratch: Scratch;
let src: string;
let dst: string;

beforeEach(async () => {
  scratch = await makeScratch();
  src = scratch.path('src');
  dst = scratch.path('dst');
});
afterEach(() => scratch.clean());

async function copied(...args: string[]): Promise<CopiedImage> {
  const outcome = await ploop('copy', src, ...args, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  expect(differences('ploop copy', outcome.json())).toEqual([]);
  return outcome.json() as unknown as CopiedImage;
}

async function names(dir: string): Promise<(string | null)[]> {
  const list = (await ploop('snapshot-list', dir, '--json')).json<{ snapshots: { name: string | null }[] }>();
  return list.snapshots.map((one) => one.name);
}

async function content(dir: string): Promise<Buffer> {
  await using reader = await native.openReader(dir);
  const parts = [];
  for (let at = 0; at < reader.size; at += 32 * MIB) parts.push(await reader.read(at, Math.min(32 * MIB, reader.size - at)));
  return Buffer.concat(parts);
}

async function fill(mib: number): Promise<void> {
  const { device } = (await ploop('attach', src, '--json')).json<{ device: string }>();
  const file = await open(device, 'r+');
  const noise = await readFile(process.execPath).then((bytes) => bytes.subarray(0, mib * MIB));
  await file.write(noise, 0, noise.length, 0);
  await file.sync();
  await file.close();
  await ploop('detach', src);
}

/** Runs the command here: what sshd does, with the words joined by spaces. */
async function standIn(): Promise<string> {
  const bin = fileURLToPath(new URL('../../bin/ploop.js', import.meta.url));
  const tools = scratch.path('tools');
  const [rsh, command] = [join(scratch.directory, 'rsh'), join(tools, 'ploop')];
  await mkdir(tools);
  await writeFile(command, `#!/bin/sh\nexec "${process.execPath}" "${bin}" "$@"\n`);
  await writeFile(rsh, `#!/bin/sh\necho "$1" >> "${scratch.path('hosts')}"\nshift\nPATH="${tools}:$PATH" exec sh -c "$*"\n`);
  for (const file of [rsh, command]) await chmod(file, 0o755);
  return rsh;
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('ploop copy', () => {
  it('copies an image with its snapshots, and only what changed the next time', async () => {
    await ploop('create', src, '--size', '32M', '--fs', 'none');
    await fill(4);
    await ploop('snapshot', src, '--name', 'mine');
    const first = await copied(dst, '--keep', 'base');
    expect(first).toMatchObject({ pauseMs: null, left: [], rounds: [{ round: 1, from: null }] });
    expect([await names(src), await names(dst)]).toEqual([
      ['mine', 'base'],
      ['mine', 'base'],
    ]);
    await fill(1);
    const second = await copied(dst);
    expect(second.rounds).toHaveLength(1);
    expect(second.rounds[0]?.dataBytes).toBeLessThanOrEqual(MIB);
    expect(await names(dst)).toEqual(['mine', 'base']);
    expect(await names(src)).toEqual(['mine', 'base']);
    expect((await content(dst)).equals(await content(src))).toBe(true);
    expect((await ploop('check', dst, '--json')).json()).toMatchObject({ clean: true });
  });

  it('follows a mounted image that is written, and holds it still at the end', async () => {
    const mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await ploop('create', src, '--size', '256M');
    expect(await ploop('mount', src, mountPoint)).toMatchObject({ status: 0 });
    let lines = 0;
    const enough = new AbortController();
    const writer = (async () => {
      while (!enough.signal.aborted) {
        await appendFile(join(mountPoint, 'log'), `${lines++} ${'x'.repeat(50_000)}\n`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const done = await copied(dst, '--live', '--rest', '1M').finally(() => enough.abort());
    await writer;
    expect(done.pauseMs).toBeGreaterThan(0);
    expect(done.left).toEqual([]);
    expect(done.rounds.length).toBeGreaterThan(1);
    await ploop('umount', mountPoint);
    expect(await ploop('mount', dst, mountPoint)).toMatchObject({ status: 0 });
    const log = (await readFile(join(mountPoint, 'log'), 'utf8')).trimEnd().split('\n');
    expect(log.length).toBeGreaterThan(0);
    expect(log.every((line, at) => line.startsWith(`${at} x`))).toBe(true);
    await ploop('umount', mountPoint);
  });

  it('reaches another host through a shell', async () => {
    await ploop('create', src, '--size', '32M', '--fs', 'none');
    await fill(1);
    const rsh = await standIn();
    const spaced = scratch.path("it's a copy");
    const done = await copied(`elsewhere:${spaced}`, '--rsh', rsh);
    expect(done).toMatchObject({ left: [], rounds: [{ from: null }] });
    expect(new Set((await readFile(scratch.path('hosts'), 'utf8')).trim().split('\n'))).toEqual(new Set(['elsewhere']));
    expect((await content(spaced)).equals(await content(src))).toBe(true);
    const refused = await ploop('copy', src, `elsewhere:${scratch.path('no/such/place')}`, '--rsh', rsh);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain('elsewhere: ');
  });

  it('goes on after an interruption when it is given again', async () => {
    await ploop('create', src, '--size', '64M', '--fs', 'none');
    await fill(40);
    const started = startCommand('ploop', ['copy', src, dst, '--level', '19', '--json']);
    while (!(await readdir(scratch.directory)).includes('.dst.receiving')) await new Promise((resolve) => setTimeout(resolve, 20));
    started.signalGroup('SIGINT');
    expect(await started.ended).toMatchObject({ status: 130 });
    expect(await readdir(scratch.directory)).not.toContain('dst');
    const done = await copied(dst);
    expect(done.left).toEqual([]);
    expect((await content(dst)).equals(await content(src))).toBe(true);
    expect([await names(src), await names(dst)]).toEqual([[], []]);
  });

  it('refuses a destination that is another image', async () => {
    for (const dir of [src, dst]) await ploop('create', dir, '--size', '32M', '--fs', 'none');
    const outcome = await ploop('copy', src, dst);
    expect(outcome).toMatchObject({ status: 6 });
    expect(outcome.stderr).toContain('no snapshot in common');
  });
});
