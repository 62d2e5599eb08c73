// SPDX-License-Identifier: Apache-2.0
// ploop compact, step by step: what each gives back, what is left out and why, and that the files stay as they are.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { CompactedImage } from '../../src/filesystem/image/compact.js';
import { run } from '../../src/exec/run.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAndDelete } from './waste.js';

const MIB = 2 ** 20;

let dir: string;
let mountPoint: string;
scratchPerTest((places) => void ({ image: dir, mountPoint } = places));

/** 300 files of up to 200 KiB, of which every third stays. */
const fileAndDelete = (): Promise<void> =>
  writeAndDelete(mountPoint, { files: 300, bytes: (at) => ((at * 37) % 200) * 1024 + 1, stays: (at) => at % 3 === 0 });

async function sums(): Promise<string[]> {
  const names = (await readdir(mountPoint)).filter((name) => name.startsWith('f')).toSorted();
  return Promise.all(
    names.map(async (name) =>
      createHash('sha256')
        .update(await readFile(join(mountPoint, name)))
        .digest('hex'),
    ),
  );
}

async function compact(...options: string[]): Promise<CompactedImage> {
  const outcome = await ploop('compact', dir, ...options, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  expect(differences('ploop compact', outcome.json())).toEqual([]);
  const done = outcome.json<Awaited<ReturnType<typeof compact>>>();
  for (const one of done.steps) expect(differences('ploop compact', one, one.skipped === null ? one.step : 'skipped')).toEqual([]);
  return done;
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compact', () => {
  it('trims a mounted ext4 down to what it uses, in short calls, and changes no file', async () => {
    await ploop('create', dir, '--size', '1G');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const before = await sums();
    const { steps, hostBytesAfter } = await compact('--no-relocate');
    expect(steps).toMatchObject([
      { step: 'trim', skipped: null, stopped: 'done', journal: true },
      { step: 'pack', skipped: expect.stringContaining('would free nothing') as string },
      { step: 'below', skipped: 'snapshots show all layers' },
      { step: 'relocate', skipped: 'not asked for' },
    ]);
    expect(steps[0]?.calls).toBeGreaterThan(10);
    const { space } = (await ploop('stat', dir, '--json')).json<{ space: { usedBytes: number; trimBytes: number } }>();
    expect(space.trimBytes).toBe(0);
    expect(hostBytesAfter).toBeLessThan(1.02 * space.usedBytes + 2 * MIB);
    // Again: nothing was left over, also where the kernel remembers what was trimmed.
    expect((await compact('--no-relocate')).hostBytesAfter).toBeGreaterThan(hostBytesAfter - MIB);
    expect(await sums()).toEqual(before);
    await ploop('umount', dir);
    await ploop('attach', dir);
    const { attachments } = (await ploop('list', '--json')).json<{ attachments: { device: string }[] }>();
    await run('e2fsck', ['-f', '-n', attachments[0]?.device ?? '']);
  });

  it.skipIf(lacks('xfs'))('trims a mounted xfs in short calls, and ends when the host has its room back', async () => {
    await ploop('create', dir, '--size', '2G', '--fs', 'xfs');
    await ploop('mount', dir, mountPoint);
    await writeAndDelete(mountPoint, { files: 30, bytes: () => 16 * MIB, stays: (at) => at % 3 === 0 });
    const { steps, hostBytesBefore, hostBytesAfter } = await compact('--no-relocate');
    expect(hostBytesBefore - hostBytesAfter).toBeGreaterThan(19.5 * 16 * MIB);
    expect(steps[0]).toMatchObject({ step: 'trim', skipped: null, stopped: 'done' });
    // Of 64 MiB at most, where the kernel keeps to the range (Linux 6.7).
    const [major = 0, minor = 0] = release().split('.').map(Number);
    expect(steps[0]?.calls).toBeGreaterThan(major * 100 + minor >= 607 ? 32 : 1);
    expect(steps[0]?.trimmedBytes).toBeLessThan(2048 * MIB - 10 * 16 * MIB);
    expect((await compact('--no-relocate')).hostBytesBefore).toBeGreaterThan(hostBytesAfter - MIB);
  });

  it('shortens the file of a detached image, and says what it left out', async () => {
    await ploop('create', dir, '--size', '1G');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    await ploop('umount', dir);
    const { steps, lengthBytesBefore, lengthBytesAfter, clustersMoved } = await compact('--no-pack');
    expect(steps.map(({ step, skipped }) => [step, skipped])).toEqual([
      ['trim', null],
      ['pack', 'not asked for'],
      ['below', 'snapshots show all layers'],
      ['relocate', null],
    ]);
    expect(clustersMoved).toBeGreaterThan(0);
    const [layer = ''] = await readdir(join(dir, 'layers'));
    expect(lengthBytesAfter).toBe((await stat(join(dir, 'layers', layer))).size);
    expect(lengthBytesAfter).toBeLessThan(lengthBytesBefore - 2 * MIB);
    // Header and journal, maps, and one cluster behind the other.
    const { layers } = (await ploop('stat', dir, '--json')).json<{ layers: { clusters: number }[] }>();
    expect(lengthBytesAfter).toBeLessThan((layers[0]?.clusters ?? 0) * 256 * 1024 + 2 * MIB);
    expect((await compact('--no-trim')).steps[0]).toMatchObject({ step: 'trim', skipped: 'not asked for' });
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });

  it('stops in good order when its time is up, and leaves discards off alone', async () => {
    await ploop('create', dir, '--size', '8G');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const { steps } = await compact('--time', '0.1', '--busy', '1');
    const late = { skipped: 'the time was used up' };
    expect(steps).toMatchObject([{ stopped: 'time' }, { skipped: expect.anything() as string }, late, late]);
    await ploop('set', dir, '--discard', 'off');
    expect((await compact()).steps[0]).toMatchObject({ skipped: expect.stringContaining('discards are off') as string });
  });

  it('packs where clusters come back whole, and nothing of what a snapshot shows', async () => {
    await ploop('create', dir, '--size', '512M');
    await ploop('set', dir, '--discard', 'cluster');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const before = await sums();
    const [, packed] = (await compact()).steps;
    expect(packed).toMatchObject({ step: 'pack', skipped: null, stopped: 'done' });
    expect(packed?.movedBytes).toBeGreaterThan(0);
    expect(await sums()).toEqual(before);
    await ploop('snapshot', dir);
    expect((await compact()).steps[1]).toMatchObject({ skipped: null, movedBytes: 0 });
  });

  it('wants figures that make sense', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    expect(await ploop('compact', dir, '--busy', '0')).toMatchObject({ status: 2 });
    expect(await ploop('compact', dir, '--time', 'long')).toMatchObject({ status: 2 });
    expect((await compact()).steps[0]).toMatchObject({ skipped: 'it holds no file system that ploop knows' });
  });
});
