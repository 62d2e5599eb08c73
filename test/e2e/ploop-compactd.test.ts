// SPDX-License-Identifier: Apache-2.0
// Automatic compaction of real, mounted images: what it takes on, what it leaves alone, and that it gives way.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { Round, RoundEntry } from '../../src/filesystem/compactd/round.js';
import { ploop, startCommand } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

/** A mounted image; with `smearMib`, that much was written and deleted again. */
async function image(name: string, smearMib: number, size = '512M'): Promise<string> {
  const dir = scratch.path(name);
  const mountPoint = scratch.path(`${name}.mnt`);
  await mkdir(mountPoint);
  await ploop('create', dir, '--size', size);
  expect(await ploop('mount', dir, mountPoint)).toMatchObject({ status: 0 });
  for (let at = 0; at < smearMib; at++) await writeFile(join(mountPoint, `f${at}`), Buffer.alloc(MIB, at + 1));
  await run('sync', ['-f', mountPoint]);
  for (const file of await readdir(mountPoint)) if (/^f\d+$/.test(file)) await rm(join(mountPoint, file));
  return dir;
}

async function config(members: object): Promise<string> {
  const path = scratch.path('compactd.json');
  await writeFile(path, JSON.stringify({ smearBytes: 8 * MIB, smearPercent: 10, ...members }));
  return path;
}

const by = (round: Round, dir: string): RoundEntry | undefined => round.entries.find((entry) => entry.directory === dir);

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compactd', () => {
  it('compacts what is smeared and leaves the rest alone', async () => {
    const smeared = await image('smeared', 40);
    const tidy = await image('tidy', 0);
    const outcome = await ploop('compactd', '--config', await config({}), '--json');
    expect(outcome).toMatchObject({ status: 0 });
    expect(differences('ploop compactd', outcome.json())).toEqual([]);
    const round = outcome.json<Round & Record<string, unknown>>();
    expect(round.ended).toBe('all');
    expect(by(round, tidy)).toMatchObject({ outcome: 'left-alone' });
    const entry = by(round, smeared);
    expect(entry).toMatchObject({ outcome: 'compacted', error: null });
    expect((entry?.hostBytesBefore ?? 0) - (entry?.hostBytesAfter ?? 0)).toBeGreaterThan(38 * MIB);
    const again = (await ploop('compactd', '--config', await config({}), '--json')).json<Round & Record<string, unknown>>();
    expect(by(again, smeared)).toMatchObject({ outcome: 'left-alone' });
  });

  it('leaves alone what only deleting a snapshot gives back, and what discards nothing', async () => {
    const held = await image('held', 0);
    const off = await image('off', 0);
    for (const name of ['held', 'off']) {
      await writeFile(scratch.path(`${name}.mnt/big`), Buffer.alloc(40 * MIB, 1));
      await run('sync', ['-f', scratch.path(`${name}.mnt`)]);
    }
    await ploop('snapshot', held, '--name', 'kept');
    await ploop('set', off, '--discard', 'off');
    for (const name of ['held', 'off']) {
      await rm(scratch.path(`${name}.mnt/big`));
      await run('sync', ['-f', scratch.path(`${name}.mnt`)]);
    }
    const round = (await ploop('compactd', '--config', await config({}), '--json')).json<Round & Record<string, unknown>>();
    for (const dir of [held, off]) {
      expect(by(round, dir)).toMatchObject({ outcome: 'left-alone' });
      expect(by(round, dir)?.smearBytesBefore).toBeGreaterThan(39 * MIB);
    }
  });

  it('goes on with the next image where the last round stopped, and keeps to its window', async () => {
    await image('a', 0, '64M');
    await image('b', 0, '64M');
    const none = await config({ roundSeconds: 0 });
    expect((await ploop('compactd', '--config', none, '--json')).json()).toMatchObject({ entries: [], ended: 'time' });
    const first = (await ploop('compactd', '--config', await config({}), '--json')).json<Round & Record<string, unknown>>();
    const last = first.entries.at(-1)?.image ?? '';
    await writeFile(join(scratch.runDir, 'compactd.json'), JSON.stringify({ last: first.entries[0]?.image }));
    const next = (await ploop('compactd', '--config', await config({}), '--json')).json<Round & Record<string, unknown>>();
    expect(next.entries[0]?.image).toBe(last);
    const hour = (new Date().getHours() + 12) % 24;
    const far = `${String(hour).padStart(2, '0')}:00-${String(hour).padStart(2, '0')}:01`;
    expect((await ploop('compactd', '--window', far, '--json')).json()).toMatchObject({ entries: [], ended: 'window' });
    expect(await ploop('compactd', '--window', 'never')).toMatchObject({ status: 2 });
  });

  it('gives way at once to a command that wants the image', async () => {
    const dir = await image('wanted', 60);
    const { ended } = startCommand('ploop', [
      'compactd',
      '--config',
      await config({ busyPercent: 1, smearBytes: 0, smearPercent: 0 }),
      '--json',
    ]);
    const notes = join(scratch.runDir, 'compacting');
    await expect.poll(async () => (existsSync(notes) ? (await readdir(notes)).length : 0), { timeout: 20_000, interval: 5 }).toBe(1);
    expect(await ploop('snapshot', dir, '--name', 'now')).toMatchObject({ status: 0 });
    const round = (await ended).json<Round & Record<string, unknown>>();
    expect(by(round, dir)?.outcome).toBe('gave-way');
    expect(await readdir(notes)).toEqual([]);
    await ploop('umount', dir);
    expect(await ploop('check', dir)).toMatchObject({ status: 0 });
  });
});
