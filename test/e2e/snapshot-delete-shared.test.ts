// SPDX-License-Identifier: Apache-2.0
// Deleting a snapshot where the host's file system can share extents between files: nothing is copied. On each that can, and on one
// that can not, counted where it counts: what is written to the host's disk.
import { createHash } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { deleteSnapshot } from '../../src/attach/jobs.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploopOk } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { attach, type Attached } from './device.js';

const MIB = 2 ** 20;
const SIZE = 128 * MIB;
const MOVED_MIB = 32;

describe.skipIf(lacks('root', 'fuse', 'loop'))('deleting a snapshot on a host with', () => {
  const scratch = scratchPerTest();

  /** Answers the disk; scratch takes it down. */
  async function mountHost(type: string): Promise<string> {
    const file = scratch.path('host.raw');
    await writeFile(file, '');
    await truncate(file, 640 * MIB);
    const disk = (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim();
    await run(`mkfs.${type}`, [type === 'ext4' ? '-F' : '-f', '-q', disk]);
    await run('mount', [disk, scratch.mountPoint]);
    return disk;
  }

  async function writtenMib(disk: string): Promise<number> {
    await run('sync', ['-f', scratch.mountPoint]);
    const fields = (await readFile(`/sys/block/${basename(disk)}/stat`, 'utf8')).trim().split(/\s+/);
    return (Number(fields[6]) * 512) / MIB;
  }

  async function sum(dir: string): Promise<string> {
    await using reader = await native.openReader(dir, { lock: false });
    const hash = createHash('sha256');
    for (let at = 0; at < SIZE; at += 8 * MIB) hash.update(await reader.read(at, 8 * MIB));
    return hash.digest('hex');
  }

  const sumOfDevice = async (device: string): Promise<string> => (await run('sha256sum', [device])).stdout.split(' ')[0] ?? '';

  /** MiB of the disk: [first, how many]. */
  const fill = (device: string, [seek, count]: readonly [number, number]): Promise<unknown> =>
    run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', `count=${count}`, `seek=${seek}`, 'oflag=direct', 'conv=fsync', 'status=none']);

  async function twoLayers(dir: string, lower: readonly [number, number], upper: readonly [number, number]): Promise<Attached> {
    await native.create(dir, { size: SIZE });
    const image = await attach(scratch, dir);
    await fill(image.device, lower);
    await ploopOk('snapshot', dir, '--name', 'one');
    await fill(image.device, upper);
    return image;
  }

  it.skipIf(lacks('ext4')).each([
    { way: 'up, when the snapshot holds little', lower: 2, upper: 32 },
    { way: 'down, when little was written since', lower: 32, upper: 2 },
  ])('no extents to share moves what there is $way', async ({ lower, upper }) => {
    const disk = await mountHost('ext4');
    const dir = join(scratch.mountPoint, 'image');
    const image = await twoLayers(dir, [0, lower], [64, upper]);
    const [content, before] = [await sumOfDevice(image.device), await writtenMib(disk)];
    expect(await deleteSnapshot(dir, 'one', { runDir: scratch.runDir })).toMatchObject({ done: true, kept: false });
    expect((await writtenMib(disk)) - before).toBeLessThan(8);
    await image.detach();
    expect((await native.info(dir)).layers).toHaveLength(1);
    expect(await sum(dir)).toBe(content);
  });

  describe.each([
    { type: 'xfs', shares: true },
    { type: 'btrfs', shares: true },
    { type: 'ext4', shares: false },
  ] as const)('$type', ({ type, shares }) => {
    it.skipIf(lacks(type)).each(['attached', 'detached'])(
      `copies ${shares ? 'nothing' : 'what it has to'}, and changes nothing (image %s)`,
      async (how) => {
        const disk = await mountHost(type);
        const dir = join(scratch.mountPoint, 'image');
        // As much in the upper as in the lower one, half of it in the same places.
        const image = await twoLayers(dir, [16, MOVED_MIB], [32, MOVED_MIB]);
        if (how === 'detached') await image.detach();
        const content = how === 'attached' ? await sumOfDevice(image.device) : await sum(dir);
        const before = await writtenMib(disk);
        expect(await deleteSnapshot(dir, 'one', { runDir: scratch.runDir })).toMatchObject({ done: true, kept: false });
        const moved = (await writtenMib(disk)) - before;
        if (shares) expect(moved).toBeLessThan(MOVED_MIB / 8);
        else expect(moved).toBeGreaterThanOrEqual(MOVED_MIB / 2);
        if (how === 'attached') await image.detach();
        expect((await native.info(dir)).layers).toHaveLength(1);
        expect(await sum(dir)).toBe(content);
        expect(await native.check(dir)).toMatchObject({ findings: [] });
      },
    );
  });
});
