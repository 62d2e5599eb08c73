// SPDX-License-Identifier: Apache-2.0
// How long does a snapshot hold writes back? Snapshots of an image whose ext4 is mounted and written to, at several sizes,
// frozen around each as `ploop snapshot` does, and without a freeze, where the load goes on up to the switch itself.
import { join } from 'node:path';
import { takeSnapshot } from '../src/attach/operations.js';
import { run } from '../src/exec/run.js';
import { consistentSnapshot } from '../src/filesystem/image/snapshot.js';
import { image } from './contender/image.js';
import { withExt4 } from './ext4.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { quantile } from './statistics.js';

const SNAPSHOTS_A_ROUND = 20;

interface Pause {
  frozen: boolean;
  /** ploopd holds reads and writes back. */
  pausedMs: number;
  /** Of that: for those under way. */
  drainMs: number;
  /** Behind it, flushes wait. */
  settleMs: number;
  /** Nobody waits. */
  sealMs: number;
  /** The file system is frozen; null: it was not. */
  frozenMs: number | null;
}

export async function bench(options: BenchOptions): Promise<Report> {
  const pauses = await withWorkshop(async ({ folder, runDir }) => {
    const disk = await image(folder, { sizeBytes: options.sizeBytes, content: 'empty' });
    try {
      return await withExt4(disk.device, join(folder, 'mnt'), (mountPoint) => underLoad({ mountPoint, dir: disk.dir, runDir, options }));
    } finally {
      await disk.close();
    }
  });
  const busy = pauses.filter(({ frozen }) => !frozen);
  const held = pauses.filter(({ frozen }) => frozen);
  return {
    title: `Snapshots of a mounted image under random writes and fsyncs: ${held.length} frozen, ${busy.length} not; up to ${pauses.length + 1} layers`,
    columns: ['', 'median', '99 %', 'most'],
    rows: [
      row('writes paused by ploopd (frozen)', held, 'pausedMs'),
      row('writes paused by ploopd (not frozen)', busy, 'pausedMs'),
      row('  of it, for requests under way', busy, 'drainMs'),
      row('flushes wait behind it', pauses, 'settleMs'),
      row('sealing, nobody waits', pauses, 'sealMs'),
      row('file system frozen', held, 'frozenMs'),
    ],
    notes: ['The freeze begins with the kernel writing back what the file system has not written yet; others still write meanwhile.'],
    figures: pauses,
  };
}

function row(name: string, pauses: readonly Pause[], what: keyof Omit<Pause, 'frozen'>): string[] {
  const sorted = pauses.map((pause) => pause[what] ?? Number.NaN).toSorted((a, b) => a - b);
  return [name, ...[0.5, 0.99, 1].map((at) => `${quantile(sorted, at).toFixed(2)} ms`)];
}

interface Load {
  mountPoint: string;
  dir: string;
  runDir: string;
  options: BenchOptions;
}

async function underLoad({ mountPoint, dir, runDir, options }: Load): Promise<Pause[]> {
  const pauses: Pause[] = [];
  const stop = new AbortController();
  const fio = ['--name=load', `--directory=${mountPoint}`, '--size=256M', '--rw=randwrite', '--bs=4k', '--direct=1', '--ioengine=io_uring'];
  await run('fio', [...fio, '--create_only=1']);
  const load = run('fio', [...fio, '--iodepth=16', '--fsync=64', '--time_based', '--runtime=1d'], { signal: stop.signal }).catch(
    () => undefined,
  );
  try {
    for (let at = 0; at < options.rounds * SNAPSHOTS_A_ROUND; at++) pauses.push(await one(dir, runDir, at % 2 === 0));
  } finally {
    stop.abort();
    await load;
  }
  return pauses;
}

async function one(dir: string, runDir: string, frozen: boolean): Promise<Pause> {
  const { times, ...taken } = frozen
    ? await consistentSnapshot(dir, { runDir })
    : { ...(await takeSnapshot(dir, { runDir })), frozenMs: null };
  const ms = (us: number | undefined): number => (us ?? Number.NaN) / 1000;
  return {
    frozen,
    pausedMs: ms(times?.pausedUs),
    drainMs: ms(times?.drainUs),
    settleMs: ms(times?.settleUs),
    sealMs: ms(times?.sealUs),
    frozenMs: taken.frozenMs,
  };
}
