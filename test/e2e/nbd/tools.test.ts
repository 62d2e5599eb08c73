// SPDX-License-Identifier: Apache-2.0
// Our NBD server and the tools that others use it with.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { exportImage, type ImageExport, unexportImage } from '../../../src/attach/exports.js';
import { native } from '../../../src/native/index.js';
import { lacks } from '../../helpers/require.js';
import { makeScratch, type Scratch } from '../../helpers/scratch.js';
import { createImage } from '../device.js';
import { client, exported, MIB, randomFile } from './exported.js';

const SIZE = 64 * MIB;

describe.skipIf(lacks('root', 'libnbd', 'qemu-img'))('tools that read and write by NBD', () => {
  let scratch: Scratch;
  let dir: string;
  let served: ImageExport;
  let raw: string;
  let count = 0;

  beforeAll(async () => {
    scratch = await makeScratch();
    raw = await randomFile(scratch, 'raw', SIZE);
    await client('dd', 'if=/dev/zero', `of=${raw}`, 'bs=1M', 'count=20', 'seek=10', 'conv=notrunc', 'status=none');
  });
  afterAll(() => scratch.clean());
  beforeEach(async () => {
    if (count > 0) await unexportImage(dir, { runDir: scratch.runDir, force: true }).catch(() => undefined);
    dir = await createImage(scratch, `img${count++}`, SIZE);
    served = await exported(scratch, dir);
  });

  it('nbdinfo shows size, flags and block sizes as they are, alone and in a list', async () => {
    const [only] = (JSON.parse((await client('nbdinfo', '--json', served.uri)).stdout) as { exports: Record<string, unknown>[] }).exports;
    expect(only).toMatchObject({
      'export-name': 'disk',
      'export-size': SIZE,
      contexts: ['base:allocation'],
      is_read_only: false,
      can_multi_conn: true,
      can_fast_zero: true,
      can_fua: true,
      can_df: true,
      can_cache: true,
      block_size_minimum: 512,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    });
    expect((await client('nbdinfo', '--list', served.uri.replace('/disk', '/'))).stdout).toContain('export="disk":');
  });

  it('nbdcopy writes and reads the same bytes, and nbdinfo --map and qemu-img map show the hole', async () => {
    await client('nbdcopy', raw, served.uri);
    await client('nbdcopy', served.uri, scratch.path('back'));
    await client('cmp', raw, scratch.path('back'));
    const map = (await client('nbdinfo', '--map', '--json', served.uri)).stdout;
    const extents = (JSON.parse(map) as { offset: number; length: number; type: number }[]).map((e) => [e.offset, e.length, e.type]);
    expect(extents).toEqual([
      [0, 10 * MIB, 0],
      [10 * MIB, 20 * MIB, 3],
      [30 * MIB, 34 * MIB, 0],
    ]);
    const seen = JSON.parse((await client('qemu-img', 'map', '--output=json', served.uri)).stdout) as { start: number; data: boolean }[];
    expect(seen.map((e) => [e.start, e.data])).toEqual([
      [0, true],
      [10 * MIB, false],
      [30 * MIB, true],
    ]);
  });

  it('qemu-img knows, compares and converts it, both ways', async () => {
    await client('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', raw, served.uri);
    expect((await client('qemu-img', 'info', served.uri)).stdout).toContain(`(${SIZE} bytes)`);
    expect((await client('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', raw, served.uri)).stdout).toContain('identical');
    await client('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', served.uri, scratch.path('q.qcow2'));
    await client('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', served.uri, scratch.path('q.qcow2'));
  });

  it('qemu-io writes, discards, zeroes and flushes', async () => {
    const commands = ['write -P 5 4k 64k', 'write -f -P 6 1M 4k', 'write -z 8k 4k', 'write -z -u 16k 4k', 'discard 24k 4k', 'flush'];
    const checks = ['read -P 5 4k 4k', 'read -P 0 8k 4k', 'read -P 0 16k 4k', 'read -P 0 24k 4k', 'read -P 6 1M 4k', 'read -P 5 100 0'];
    const args = [...commands, ...checks].flatMap((command) => ['-c', command]);
    const { stdout } = await client('qemu-io', '-f', 'raw', ...args, served.uri);
    expect(stdout).not.toMatch(/fail|error/i);
  });

  it('python3-libnbd sends every command and gets every error', async () => {
    const script = fileURLToPath(new URL('session.py', import.meta.url));
    const readOnly = await exportImage(dir, { name: 'ro', readOnly: true, socket: scratch.path('ro.sock'), runDir: scratch.runDir });
    const { stdout } = await client('/usr/bin/python3', script, served.uri, readOnly.uri);
    expect(stdout.trim().split('\n').at(-1)).toBe('all as it should be');
  });

  it.skipIf(lacks('fio'))('fio verifies what it wrote at random, over several connections', async () => {
    const jobs = ['--ioengine=nbd', `--uri=${served.uri}`, '--rw=randwrite', '--bsrange=4k-128k', '--iodepth=16', '--verify=crc32c'];
    await client('fio', '--name=verify', ...jobs, `--size=${SIZE}`, `--aux-path=${scratch.directory}`, '--do_verify=1', '--verify_fatal=1');
    await unexportImage(dir, { runDir: scratch.runDir });
    expect((await native.check(dir)).findings).toEqual([]);
  });

  it('shows the blocks that changed since a snapshot as qemu:dirty-bitmap, by id and by name', async () => {
    await client('nbdcopy', raw, served.uri);
    await unexportImage(dir, { runDir: scratch.runDir });
    const id = await native.snapshot(dir, { name: 'monday' });
    served = await exported(scratch, dir);
    await client('qemu-io', '-f', 'raw', '-c', 'write -P 1 1M 64k', '-c', 'write -z -u 2M 4k', served.uri);
    for (const name of ['monday', id]) {
      const { stdout } = await client('nbdinfo', `--map=qemu:dirty-bitmap:${name}`, '--json', served.uri);
      const dirty = (JSON.parse(stdout) as { offset: number; length: number; type: number }[]).filter((e) => e.type === 1);
      expect(dirty.map((e) => [e.offset, e.length])).toEqual([
        [MIB, 65536],
        [2 * MIB, 4096],
      ]);
    }
    expect((await readFile(raw)).length).toBe(SIZE);
  });
});
