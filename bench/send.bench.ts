// SPDX-License-Identifier: Apache-2.0
// How fast does an image go through a stream? Against a plain copy, and zstd, of the same bytes as a raw file. Each ends when all is
// on the disk. Content: this machine's programs, which compress to about a third.
import { open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { takeSnapshot } from '../src/attach/operations.js';
import { run } from '../src/exec/run.js';
import { nativeFile } from '../src/native/binding.js';
import { native } from '../src/native/index.js';
import { whileAttached, withWorkshop, type Workshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { spreadOf } from './statistics.js';

const MIB = 2 ** 20;
const DATA_BYTES = 256 * MIB;

interface Way {
  name: string;
  /** A line for bash; leaves its result in $to, and what travels in $stream where that is something else. */
  script: string;
}

const stream = nativeFile('ploop-stream');
const through = (level: number): Way => ({
  name: `ploop send --level ${level}, receive`,
  script: `'${stream}' send src --level ${level} | tee >(wc -c > travelled) | '${stream}' receive "$to"`,
});

const WAYS: readonly Way[] = [
  through(0),
  through(1),
  through(3),
  { name: 'cp of the raw file', script: `cp --sparse=always raw "$to" && sync "$to"` },
  { name: 'zstd -1 of the raw file', script: `zstd -q -1 -c raw | tee >(wc -c > travelled) | zstd -q -d -c > "$to" && sync "$to"` },
  { name: 'zstd -3 of the raw file', script: `zstd -q -3 -c raw | tee >(wc -c > travelled) | zstd -q -d -c > "$to" && sync "$to"` },
];

export async function bench(options: BenchOptions): Promise<Report> {
  const figures = await withWorkshop(async (workshop) => {
    await makeContent(workshop);
    const all = [];
    for (const way of WAYS) all.push(await measure(way, workshop.folder, options.rounds));
    return all;
  });
  return {
    title: `${DATA_BYTES / MIB} MiB through a stream`,
    columns: ['way', 'median', 'data', 'processor', 'travels'],
    rows: figures.map(({ name, seconds, cpuSeconds, travelled }) => [
      name,
      `${seconds.toFixed(2)} s`,
      `${Math.round(DATA_BYTES / MIB / seconds)} MiB/s`,
      `${cpuSeconds.toFixed(2)} s`,
      `${Math.round(travelled / MIB)} MiB`,
    ]),
    notes: ['Sender and receiver share the machine. Processor: of all processes together.'],
    figures,
  };
}

async function makeContent(workshop: Workshop): Promise<void> {
  const dir = join(workshop.folder, 'src');
  const programs = await readFile(process.execPath);
  await native.create(dir, { size: 4 * DATA_BYTES });
  await whileAttached(dir, workshop, async (device) => {
    for (const path of [device, join(workshop.folder, 'raw')]) {
      const file = await open(path, path === device ? 'r+' : 'w');
      for (let at = 0; at < DATA_BYTES; at += MIB) await file.write(programs, at % (programs.length - MIB), MIB, at);
      await file.sync();
      await file.close();
    }
    await takeSnapshot(dir, { runDir: workshop.runDir });
  });
}

interface Figures {
  name: string;
  seconds: number;
  cpuSeconds: number;
  travelled: number;
}

async function measure(way: Way, folder: string, rounds: number): Promise<Figures> {
  const times: number[] = [];
  const cpu: number[] = [];
  const to = join(folder, 'to');
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const timed = `cd '${folder}'; to='${to}'; TIMEFORMAT='cpu %U %S'; time { ${way.script}; }`;
    const { stderr } = await run('bash', ['-euo', 'pipefail', '-c', timed]);
    times.push((performance.now() - start) / 1000);
    const [, user, system] = /cpu ([\d.]+) ([\d.]+)/.exec(stderr) ?? [];
    cpu.push(Number(user) + Number(system));
    await rm(to, { recursive: true });
  }
  const counted = join(folder, 'travelled');
  const travelled = await readFile(counted, 'utf8').then(Number, async () => (await stat(join(folder, 'raw'))).size);
  await rm(counted, { force: true });
  const [seconds, cpuSeconds] = [spreadOf(times).median, spreadOf(cpu).median];
  return { name: way.name, seconds, cpuSeconds, travelled };
}
