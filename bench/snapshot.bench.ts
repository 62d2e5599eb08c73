// SPDX-License-Identifier: Apache-2.0
// How long does a snapshot hold writes back? Snapshots of an image whose ext4 is mounted and written to, frozen around each.
import { join } from 'node:path';
import { takeSnapshot } from '../src/attach/operations.js';
import { run } from '../src/exec/run.js';
import { withFrozen } from '../src/filesystem/freeze.js';
import { image } from './contender/image.js';
import { withExt4 } from './ext4.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { quantile } from './statistics.js';

const SNAPSHOTS_A_ROUND = 20;

interface Pause {
  /** The engine holds requests back. */
  engineMs: number;
  /** The file system is frozen. */
  frozenMs: number;
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
  const row = (name: string, values: readonly number[]): string[] => {
    const sorted = values.toSorted((a, b) => a - b);
    return [name, ...[0.5, 0.99, 1].map((at) => `${quantile(sorted, at).toFixed(2)} ms`)];
  };
  return {
    title: `Snapshots of a mounted, busy image (${pauses.length})`,
    columns: ['writes wait', 'median', '99 %', 'most'],
    rows: [
      row(
        'in ploopd',
        pauses.map(({ engineMs }) => engineMs),
      ),
      row(
        'file system frozen',
        pauses.map(({ frozenMs }) => frozenMs),
      ),
    ],
    notes: ['Freezing first writes back what the file system has not written yet, during which others still write.'],
    figures: pauses,
  };
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
  const fio = ['--name=load', `--directory=${mountPoint}`, '--size=64M', '--rw=randwrite', '--bs=4k', '--direct=1', '--ioengine=io_uring'];
  const load = run('fio', [...fio, '--iodepth=16', '--time_based', '--runtime=1d'], { signal: stop.signal }).catch(() => undefined);
  try {
    for (let at = 0; at < options.rounds * SNAPSHOTS_A_ROUND; at++) {
      const { result, frozenMs } = await withFrozen(mountPoint, () => takeSnapshot(dir, { runDir }));
      pauses.push({ engineMs: (result.pausedUs ?? Number.NaN) / 1000, frozenMs });
    }
  } finally {
    stop.abort();
    await load;
  }
  return pauses;
}
