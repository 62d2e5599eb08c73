// SPDX-License-Identifier: Apache-2.0
// How long until there is an image over a sealed template, and what does it take on the host? A clone shares the template's layers.
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { takeSnapshot } from '../src/attach/operations.js';
import { run } from '../src/exec/run.js';
import { cloneImage } from '../src/filesystem/image/clone.js';
import { image } from './contender/image.js';
import { withWorkshop, type Workshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { spreadOf } from './statistics.js';

const CLONES_A_ROUND = 10;
const PLOOP = join(import.meta.dirname, '../bin/ploop.js');

interface Way {
  title: string;
  clone(from: string, to: string, of: { snapshot: string; workshop: Workshop }): Promise<unknown>;
}

const WAYS: readonly Way[] = [
  {
    title: 'library: cloneImage()',
    clone: (from, to, { snapshot, workshop }) => cloneImage(from, to, { snapshot, runDir: workshop.runDir }),
  },
  {
    title: 'command: ploop clone',
    clone: (from, to, { snapshot, workshop }) =>
      run(process.execPath, [PLOOP, 'clone', from, to, '--snapshot', snapshot], { env: { PLOOP_RUN_DIR: workshop.runDir } }),
  },
];

export async function bench(options: BenchOptions): Promise<Report> {
  const all = await withWorkshop(async (workshop) => {
    const disk = await image(workshop.folder, { sizeBytes: options.sizeBytes, content: 'full' });
    const { id } = await takeSnapshot(disk.dir, { runDir: workshop.runDir });
    await disk.detach();
    const figures = [];
    for (const { title, clone } of WAYS) {
      const times: number[] = [];
      const bytes: number[] = [];
      for (let at = 0; at < options.rounds * CLONES_A_ROUND; at++) {
        const to = join(workshop.folder, `clone-${at}`);
        const start = performance.now();
        await clone(disk.dir, to, { snapshot: id, workshop });
        times.push(performance.now() - start);
        bytes.push(await ownBytes(to));
        await rm(to, { recursive: true });
      }
      figures.push({ title, times, bytes });
    }
    return figures;
  });
  return {
    title: `An image over a sealed template of ${options.sizeBytes / 2 ** 20} MiB`,
    columns: ['by', 'time, median', 'lowest to highest', 'new host space'],
    rows: all.map(({ title, times, bytes }) => {
      const { median, min, max } = spreadOf(times);
      return [
        title,
        `${median.toFixed(1)} ms`,
        `${min.toFixed(1)}–${max.toFixed(1)} ms`,
        `${(spreadOf(bytes).median / 1024).toFixed(0)} KiB`,
      ];
    }),
    notes: ['Host space: blocks of directories and of files that no other image has.'],
    figures: all,
  };
}

/** What would come back if the clone were removed. */
async function ownBytes(path: string): Promise<number> {
  const { blocks, nlink } = await lstat(path);
  const entries = await readdir(path, { withFileTypes: true }).catch(() => null);
  if (entries === null) return nlink > 1 ? 0 : blocks * 512;
  const inside = await Promise.all(entries.map(({ name }) => ownBytes(join(path, name))));
  return inside.reduce((sum, bytes) => sum + bytes, blocks * 512);
}
