// SPDX-License-Identifier: Apache-2.0
// How long until a large image with many layers is usable? From the call of `ploopd attach` to its answer, the device being there.
// And back: `ploopd detach`, which flushes and closes the image.
import { join } from 'node:path';
import { attachImage, detachAttachment } from '../src/attach/ploopd.js';
import { image } from './contender/image.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { type Spread, spreadOf } from './statistics.js';

const TIB = 2 ** 40;
const GIB = 2 ** 30;
const CASES = [
  { title: '10 GiB, 1 layer', sizeBytes: 10 * GIB, layers: 0, scatteredBytes: 16 * 2 ** 20 },
  { title: '1 TiB, 64 layers', sizeBytes: TIB, layers: 63, scatteredBytes: 2 ** 20 },
];

interface Times {
  attachMs: number[];
  detachMs: number[];
}

export async function bench(options: BenchOptions): Promise<Report> {
  const all: { title: string; times: Times }[] = [];
  for (const one of CASES) {
    const times = await withWorkshop(async ({ folder }) => {
      const disk = await image(folder, { ...one, content: 'scattered' });
      await disk.detach();
      return attachAgain(disk.dir, { runDir: join(folder, 'run'), rounds: options.rounds * 4 });
    });
    all.push({ title: one.title, times });
  }
  const text = ({ median, min, max }: Spread): string => `${median.toFixed(0)} ms (${min.toFixed(0)}–${max.toFixed(0)})`;
  return {
    title: 'Attaching and detaching',
    columns: ['image', 'attach', 'detach'],
    rows: all.map(({ title, times }) => [title, text(spreadOf(times.attachMs)), text(spreadOf(times.detachMs))]),
    notes: ['Median, lowest and highest; host caches warm. Every layer holds 4 KiB blocks scattered over the whole disk.'],
    figures: all,
  };
}

async function attachAgain(dir: string, { runDir, rounds }: { runDir: string; rounds: number }): Promise<Times> {
  const times: Times = { attachMs: [], detachMs: [] };
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const attached = await attachImage(dir, { runDir });
    const middle = performance.now();
    await detachAttachment(attached, { runDir });
    times.attachMs.push(middle - start);
    times.detachMs.push(performance.now() - middle);
  }
  return times;
}
