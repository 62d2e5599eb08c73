// SPDX-License-Identifier: Apache-2.0
// Compaction, all of its steps, killed at random moments: the command with its children, the worker, automatic compaction; while a
// database commits, over a snapshot and a layer that two branches need. PLOOP_COMPACT_KILLS says how often (npm run test:pack: 24, on
// both kinds of images); PLOOP_SEED repeats a run.
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { attachImage, detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { ploop, ploopOk, startCommand } from '../helpers/command.js';
import { randomNumbers } from '../helpers/random.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { ageFileSystem, fingerprints } from './aging.js';
import { checkRows, startCommitter } from './committer.js';
import { killWorkerOf } from './device.js';
import { branchOff } from './waste.js';

const MIB = 2 ** 20;
const KILLS = Number(process.env['PLOOP_COMPACT_KILLS'] ?? 3);
const KINDS = [
  { blockSize: '64K', discard: 'block' },
  { blockSize: '4K', discard: 'cluster' },
].slice(0, process.env['PLOOP_COMPACT_KILLS'] === undefined ? 1 : 2);
/** Long enough to reach the last step on a busy machine, short enough to meet the first. */
const LATEST_MS = 3000;
const TIMEOUT_MS = 120_000 + 40_000 * KILLS;

let dir: string;
let mountPoint: string;
const scratch = scratchPerTest((places) => void ({ image: dir, mountPoint } = places));

/** Something to trim, and clusters to move, each time. */
async function leaveWaste(turn: number): Promise<void> {
  for (let n = 0; n < 24; n++) await writeFile(join(mountPoint, `waste-${turn}-${n}`), Buffer.alloc(MIB, n + 1));
  await run('sync', ['-f', mountPoint]);
  for (let n = 0; n < 24; n++) if (n % 4 !== turn % 4) await rm(join(mountPoint, `waste-${turn}-${n}`));
  if (turn > 0) for (let n = 0; n < 24; n++) await rm(join(mountPoint, `waste-${turn - 1}-${n}`), { force: true });
}

const KILLED = ['command', 'worker', 'compactd'] as const;

/** Whether it was still at work. */
async function compactAndKill(turn: number, afterMs: number): Promise<boolean> {
  const what = KILLED[turn % KILLED.length];
  const config = scratch.path('compactd.json');
  await writeFile(config, JSON.stringify({ smearBytes: 0, smearPercent: 0 }));
  const compact = what === 'compactd' ? ['compactd', '--config', config] : ['compact', dir, '--pack', '--rate', '24M'];
  const { signalGroup, ended, child } = startCommand('ploop', compact);
  await sleep(afterMs);
  const running = child.exitCode === null;
  if (what === 'worker') await killWorkerOf(dir);
  else signalGroup('SIGKILL');
  await ended;
  return running;
}

async function sumOfBranch(): Promise<string> {
  const attached = await attachImage(dir, { snapshot: 'branch', readOnly: true });
  try {
    return (await run('sha256sum', [attached.device ?? ''])).stdout.split(' ')[0] ?? '';
  } finally {
    await detachAttachment(attached);
  }
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'sqlite3'))('compaction that is killed', () => {
  it.each(KINDS)(
    `loses nothing in ${KILLS} kills, $blockSize blocks, --discard $discard`,
    async ({ blockSize, discard }) => {
      const seed = Number(process.env['PLOOP_SEED'] ?? randomInt(1, 2 ** 31));
      const random = randomNumbers(seed);
      await ploopOk('create', dir, '--size', '384M', '--block-size', blockSize);
      await ploopOk('set', dir, '--discard', discard);
      await ploopOk('mount', dir, mountPoint);
      const files = await ageFileSystem(mountPoint, { seed: 3, generations: 3, fullPercent: 75, finalPercent: 40 });
      const before = fingerprints(files);
      await branchOff(scratch, async () => {
        for (const file of files.slice(0, 40)) await writeFile(file, 'other', { flag: 'r+' });
      });
      const branchBefore = await sumOfBranch();
      const committer = startCommitter(join(mountPoint, 'rows.db'));
      let met = 0;
      try {
        for (let turn = 0; turn < KILLS; turn++) {
          await leaveWaste(turn);
          if (await compactAndKill(turn, 400 + random() * LATEST_MS)) met++;
        }
      } finally {
        await committer.kill();
      }
      process.stderr.write(`seed ${seed}: ${met} of ${KILLS} at work; ${committer.acknowledged} commits\n`);
      expect(committer.complaints).toBe('');
      // What a killed command had started ends by itself, a moment later.
      await expect.poll(async () => (await ploop('umount', dir)).status, { timeout: 30_000 }).toBe(0);
      expect(await ploop('check', dir, '--data')).toMatchObject({ status: 0 });
      const attached = await attachImage(dir);
      await run('e2fsck', ['-fn', attached.device ?? '']);
      await detachAttachment(attached);
      await ploopOk('mount', dir, mountPoint);
      expect(fingerprints(files)).toEqual(before);
      expect(await checkRows(join(mountPoint, 'rows.db'), committer.acknowledged)).toBe('ok');
      expect(await sumOfBranch()).toBe(branchBefore);
      // And what was left undone can be done.
      await ploopOk('compact', dir, '--pack');
      expect(fingerprints(files)).toEqual(before);
    },
    TIMEOUT_MS,
  );
});
