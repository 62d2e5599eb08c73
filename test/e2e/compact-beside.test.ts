// SPDX-License-Identifier: Apache-2.0
// A compaction that somebody asked for, and other commands meanwhile: they work beside it, a second one is refused, and who
// takes the disk away does not have to wait for it.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { ploop, startCommand } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compact beside other commands', () => {
  it('refuses a second one, lets snapshots be taken, and gives way to an unmount', async () => {
    const dir = scratch.path('image');
    const { mountPoint } = scratch;
    const notes = join(scratch.runDir, 'compacting');
    await ploop('create', dir, '--size', '8G');
    await ploop('mount', dir, mountPoint);
    for (let at = 0; at < 60; at++) await writeFile(join(mountPoint, `f${at}`), Buffer.alloc(MIB, at + 1));
    await run('sync', ['-f', mountPoint]);
    for (let at = 0; at < 60; at++) await rm(join(mountPoint, `f${at}`));

    // For minutes, if nobody stops it.
    const { ended } = startCommand('ploop', ['compact', dir, '--busy', '1']);
    await expect.poll(async () => (existsSync(notes) ? (await readdir(notes)).length : 0), { timeout: 20_000, interval: 5 }).toBe(1);
    const second = await ploop('compact', dir);
    expect(second).toMatchObject({ status: 10 });
    expect(second.stderr).toMatch(/is being compacted by process \d+\nWait until it has ended/);
    expect(await ploop('snapshot', dir, '--name', 'beside')).toMatchObject({ status: 0 });
    expect((await readdir(notes)).length).toBe(1);
    expect(await ploop('umount', dir)).toMatchObject({ status: 0 });
    const first = await ended;
    expect(first).toMatchObject({ status: 130 });
    expect(first.stderr).toContain('gave way to another command');
    expect(await readdir(notes)).toEqual([]);
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });

  it('takes over the note of one that was killed', async () => {
    const dir = scratch.path('image');
    await ploop('create', dir, '--size', '64M');
    await ploop('attach', dir);
    const { id } = (await ploop('info', dir, '--json')).json<{ id: string }>();
    await mkdir(join(scratch.runDir, 'compacting'), { recursive: true });
    await writeFile(join(scratch.runDir, 'compacting', id), '4194999 12 manual\n');
    expect(await ploop('compact', dir)).toMatchObject({ status: 0 });
    expect(await readdir(join(scratch.runDir, 'compacting'))).toEqual([]);
  });
});
