// SPDX-License-Identifier: Apache-2.0
// What automatic compaction keeps to: both thresholds, its turn, the time and the rate of one image; and as a daemon.
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { COMPACTD_DEFAULTS, type CompactdConfig } from '../../src/filesystem/compactd/config.js';
import { compactRound, type Round, type RoundEntry } from '../../src/filesystem/compactd/round.js';
import { ploopOk, startCommand } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAndDelete } from './waste.js';

const KIB = 1024;
const MIB = 2 ** 20;
const NONE = () => undefined;

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compactd', () => {
  const scratch = scratchPerTest();

  async function mounted(name: string, ...set: string[]): Promise<{ dir: string; mountPoint: string }> {
    const [dir, mountPoint] = [scratch.path(name), scratch.path(`${name}.mnt`)];
    await mkdir(mountPoint);
    await ploopOk('create', dir, '--size', '256M');
    if (set.length > 0) await ploopOk('set', dir, ...set);
    await ploopOk('mount', dir, mountPoint);
    return { dir, mountPoint };
  }

  const round = (config: Partial<CompactdConfig>, now?: () => Date): Promise<Round> =>
    compactRound({ ...COMPACTD_DEFAULTS, smearBytes: 0, ...config }, { runDir: scratch.runDir, log: NONE, now });

  it('leaves an image alone whose smear is a small part of what it uses', async () => {
    const { mountPoint } = await mounted('image');
    await writeAndDelete(mountPoint, { files: 80, bytes: () => MIB, stays: (at) => at < 60 });
    await run('sync', ['-f', mountPoint]);
    const [entry] = (await round({ smearPercent: 60 })).entries;
    expect(entry).toMatchObject({ outcome: 'left-alone', steps: [] });
    expect(entry?.smearBytesBefore).toBeGreaterThan(18 * MIB);
    expect((await round({ smearPercent: 20 })).entries).toMatchObject([{ outcome: 'compacted' }]);
  });

  it('takes up in each round where the one before was cut off, and begins again behind the last image', async () => {
    for (const name of ['a', 'b', 'c']) await mounted(name);
    const [open, closed] = [new Date(2026, 0, 1, 2), new Date(2026, 0, 1, 6)];
    const seen: string[] = [];
    for (let turn = 0; turn < 4; turn++) {
      let asked = 0;
      const { entries, ended } = await round({ window: '01:00-05:00' }, () => (asked++ === 0 ? open : closed));
      expect([entries.length, ended]).toEqual([1, 'window']);
      seen.push(entries[0]?.image ?? '');
    }
    expect(new Set(seen).size).toBe(3);
    expect(seen[3]).toBe(seen[0]);
    expect(seen.slice(0, 3)).toEqual(seen.slice(0, 3).toSorted());
  });

  it('packs no faster than it may, and stops with an image when its time is up', async () => {
    const { mountPoint } = await mounted('image', '--discard', 'cluster');
    await writeAndDelete(mountPoint, { files: 600, bytes: (at) => ((at * 37) % 200) * KIB + 1, stays: (at) => at % 5 === 0 });
    const slow = await round({ smearPercent: 0, rateBytesPerSecond: 4096, imageSeconds: 4 });
    expect(slow.entries).toMatchObject([{ outcome: 'compacted', error: null }]);
    const packed = slow.entries[0]?.steps.find(({ step }) => step === 'pack');
    // At full speed all of it moves within the time.
    expect(packed).toMatchObject({ skipped: null, stopped: 'time' });
    expect(packed?.movedBytes).toBeLessThan(MIB);
    const fast = await round({ smearPercent: 0, rateBytesPerSecond: null });
    expect(fast.entries[0]?.steps.find(({ step }) => step === 'pack')).toMatchObject({ stopped: 'done' });
  });

  it('--daemon writes a line of JSON for each image, round after round, until it is told to stop', async () => {
    for (const name of ['a', 'b']) await mounted(name);
    const config = scratch.path('compactd.json');
    await writeFile(config, JSON.stringify({ intervalSeconds: 0 }));
    const { child, ended, signalGroup } = startCommand('ploop', ['compactd', '--daemon', '--config', config]);
    let text = '';
    child.stdout?.on('data', (part: string) => (text += part));
    try {
      await expect.poll(() => text.split('\n').length, { timeout: 60_000 }).toBeGreaterThan(4);
      child.kill('SIGTERM');
      expect(await ended).toMatchObject({ signal: null, stderr: expect.not.stringContaining('defect') as string });
    } finally {
      signalGroup('SIGKILL');
    }
    const entries = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RoundEntry);
    expect(differences('ploop compactd', { entries, ended: 'all' })).toEqual([]);
    const images = entries.map(({ image }) => image);
    expect(images.slice(2, 4)).toEqual(images.slice(0, 2));
    expect(images[1]).not.toBe(images[0]);
  });
});

describe.skipIf(lacks('systemd'))('the units of automatic compaction', () => {
  const units = ['service', 'timer'].map((kind) => join(import.meta.dirname, `../../systemd/ploop-compactd.${kind}`));

  it('are what systemd takes without a word', async () => {
    expect(await run('systemd-analyze', ['verify', '--man=no', ...units])).toMatchObject({ stdout: '', stderr: '' });
  });

  it('run a command that there is', async () => {
    const command = /^ExecStart=\/usr\/bin\/env ploop (.*)$/m.exec(readFileSync(units[0] ?? '', 'utf8'))?.[1]?.split(' ') ?? [];
    expect(command[0]).toBe('compactd');
    expect((await ploopOk(...command, '--help')).stdout).toContain('ploop compactd');
  });
});
