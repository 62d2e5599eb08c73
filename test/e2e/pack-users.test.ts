// SPDX-License-Identifier: Apache-2.0
// Packing under those who use the files: programs start, what has to stay stays, and the path may lead into another namespace.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { copyFile, link, mkdir, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { packFileSystem } from '../../src/filesystem/pack.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { ageFileSystem, fingerprints } from './aging.js';

const MIB = 2 ** 20;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('packing files in use', () => {
  let scratch: Scratch;
  let mountPoint: string;
  let device: string;
  let files: string[];
  let image: string;
  let count = 0;

  // One that is old, and a copy of it for each test.
  beforeAll(async () => {
    scratch = await makeScratch();
    mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await newImage(scratch.path('aged'), { sizeBytes: 192 * MIB });
    await mountImage(scratch.path('aged'), { mountPoint });
    files = await ageFileSystem(mountPoint, { seed: 3, generations: 2, fullPercent: 75, finalPercent: 40 });
    await unmountImage(mountPoint);
  });
  afterAll(() => scratch.clean());
  beforeEach(async () => {
    image = scratch.path(`image${count++}`);
    await run('cp', ['-r', '--sparse=always', scratch.path('aged'), image]);
    ({ device } = await mountImage(image, { mountPoint }));
  });
  afterEach(async () => {
    await unmountImage(mountPoint);
    expect(await native.check(image)).toMatchObject({ findings: [] });
    await rm(image, { recursive: true });
  });

  it('lets programs start all the while', async () => {
    // In small free places all over the disk, so that they are moved.
    const programs = files.slice(0, 40).map((file) => `${file}.sh`);
    for (const program of programs) await writeFile(program, '#!/bin/true\n', { mode: 0o755 });
    await copyFile('/bin/true', join(mountPoint, 'true'));
    programs.push(join(mountPoint, 'true'));
    await run('sync', ['-f', mountPoint]);
    const done = new AbortController();
    const packed = packFileSystem(mountPoint, { unitBytes: 4 * MIB, rateBytesPerSecond: 8 * MIB }).finally(() => done.abort());
    let started = 0;
    while (!done.signal.aborted) {
      await run(programs[started++ % programs.length] ?? '', []);
    }
    expect((await packed).movedBytes).toBeGreaterThan(MIB);
    expect(started).toBeGreaterThan(0);
  });

  it('moves a program only under a lease, which it gets while nobody has the file open', async () => {
    const programs = files.filter((file) => (statSync(file).mode & 0o111) !== 0);
    const places = async (): Promise<string> => (await run('filefrag', ['-e', ...programs])).stdout.replaceAll(/^Filesystem.*$/gm, '');
    const before = await places();
    const held = await Promise.all(programs.map((file) => open(file, 'r')));
    try {
      const { busyPieces, emptiedBytes } = await packFileSystem(mountPoint, { unitBytes: 4 * MIB });
      expect(busyPieces).toBeGreaterThan(0);
      expect(emptiedBytes).toBeGreaterThan(0);
      expect(await places()).toBe(before);
    } finally {
      await Promise.all(held.map((handle) => handle.close()));
    }
    await packFileSystem(mountPoint, { unitBytes: 4 * MIB });
    expect(await places()).not.toBe(before);
  });

  it('leaves immutable and append-only files where they are', async () => {
    const [immutable = '', appendOnly = ''] = files;
    await run('chattr', ['+i', immutable]);
    await run('chattr', ['+a', appendOnly]);
    const places = async (): Promise<string> =>
      (await run('filefrag', ['-e', immutable, appendOnly])).stdout.replaceAll(/^Filesystem.*$/gm, '');
    const before = { places: await places(), content: fingerprints(files) };
    const { before: estimate } = await packFileSystem(mountPoint, { unitBytes: 4 * MIB });
    expect(estimate.fixedFiles).toBe(2);
    expect({ places: await places(), content: fingerprints(files) }).toEqual(before);
    await run('chattr', ['-ia', immutable, appendOnly]);
  });

  it('packs what is mounted in another namespace, also below another mount, and leaves no knob turned', async () => {
    const knob = `/sys/fs/ext4/${basename(device)}/mb_max_linear_groups`;
    const before = { knob: await readFile(knob, 'utf8'), content: fingerprints(files) };
    const hide = `mount -t tmpfs none ${mountPoint}/d0 && echo ready && exec sleep 60`;
    const other = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', hide]);
    const ended = once(other, 'close');
    try {
      await once(other.stdout, 'data');
      const { before: plan, emptiedBytes } = await packFileSystem(`/proc/${other.pid}/root${mountPoint}`, { unitBytes: 4 * MIB });
      expect(plan.files).toBe(files.length);
      expect(emptiedBytes).toBeGreaterThan(0);
    } finally {
      other.kill('SIGKILL');
      await ended;
    }
    expect({ knob: await readFile(knob, 'utf8'), content: fingerprints(files) }).toEqual(before);
  });

  it('keeps extended attributes, lists of rights, hard links and holes', async () => {
    const some = files.slice(0, 60);
    for (const [n, file] of some.entries()) {
      await run('setfattr', ['-n', 'user.note', '-v', `note ${n} ${'x'.repeat(n * 40)}`, file]);
      await run('setfacl', ['-m', `u:${1000 + n}:r--,g:${2000 + n}:-w-`, file]);
      await link(file, `${file}.link`);
    }
    // Data, a hole, data: as much again between small files all over the disk.
    const sparse = some.map((file) => `${file}.sparse`);
    for (const file of sparse) {
      await writeFile(file, Buffer.alloc(12_000, 7));
      await truncate(file, MIB);
      await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=4k', 'seek=200', 'count=3', 'conv=notrunc', 'status=none']);
    }
    await run('sync', ['-f', mountPoint]);
    const all = [...files, ...some.map((file) => `${file}.link`), ...sparse];
    const attributes = async (): Promise<string> =>
      (await run('getfattr', ['-d', '-m', '-', '--absolute-names', ...some])).stdout +
      (await run('getfacl', ['-n', '--absolute-names', ...some])).stdout +
      (await run('stat', ['-c', '%n %h %s', ...all])).stdout;
    const before = { attributes: await attributes(), content: fingerprints(all) };
    const { movedBytes } = await packFileSystem(mountPoint, { unitBytes: 4 * MIB });
    expect(movedBytes).toBeGreaterThan(MIB);
    expect({ attributes: await attributes(), content: fingerprints(all) }).toEqual(before);
    // Three blocks before the hole and three behind it, and the file's own.
    for (const file of sparse) expect(statSync(file).blocks).toBeLessThanOrEqual(((3 + 3 + 2) * 4096) / 512);
  });

  it('stops when it is told to, and keeps what it has packed', async () => {
    const content = fingerprints(files);
    const stop = new AbortController();
    const packing = packFileSystem(mountPoint, {
      unitBytes: 4 * MIB,
      rateBytesPerSecond: MIB,
      onProgress: () => stop.abort(),
      signal: stop.signal,
    });
    await expect(packing).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(fingerprints(files)).toEqual(content);
    expect((await packFileSystem(mountPoint, { unitBytes: 4 * MIB })).stopped).toBe('done');
  });
});
