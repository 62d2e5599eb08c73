// SPDX-License-Identifier: Apache-2.0
// What a user of the device sees: an ext4 on it. Unpacking a root file system, many small files, reading all back, database commits.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../src/exec/run.js';
import { EMPTY } from './contender/all.js';
import type { Contender } from './contender/contender.js';
import { withExt4 } from './ext4.js';
import { withWorkshop } from './images.js';
import { type BenchOptions, pick } from './options.js';
import type { Report } from './report.js';
import { ratioOf, ratioText, spreadOf } from './statistics.js';

const SIZE_BYTES = 3 * 2 ** 30;
const COMMITS = 200;
const SMALL_FILES = 4000;

const NO_PEER =
  'qcow2 is not in this table: with more than one request at a time qemu-storage-daemon (7.2 and 10.0) mixes up their data, and the ext4 cannot be mounted.';

interface Step {
  name: string;
  title: string;
  work(mountPoint: string, input: Inputs): Promise<unknown>;
}

interface Inputs {
  rootTar: string;
  smallTar: string;
}

const STEPS: readonly Step[] = [
  { name: 'unpack', title: 'unpacking programs and documents', work: (at, { rootTar }) => unpack(rootTar, join(at, 'root')) },
  { name: 'small', title: `unpacking ${SMALL_FILES} small files`, work: (at, { smallTar }) => unpack(smallTar, join(at, 'small')) },
  {
    name: 'read',
    title: 'reading all of them, caches dropped',
    work: (at) => run('grep', ['-rqF', 'no file has this line', at], { accept: 'any' }),
  },
  { name: 'sqlite', title: `${COMMITS} commits of sqlite3`, work: (at) => run('sqlite3', [join(at, 'db')], { input: commits() }) },
];

export const NAMES = STEPS.map(({ name }) => name);

export async function bench(options: BenchOptions): Promise<Report> {
  const steps = pick('step', STEPS, options.only);
  const wanted = EMPTY.filter(
    ({ name }, at) => name !== 'qcow2' && (at === 0 || options.against.length === 0 || options.against.includes(name)),
  );
  const seconds = new Map(wanted.map(({ name }) => [name, steps.map((): number[] => [])]));
  await withWorkshop(async ({ folder }) => {
    const input = await makeInputs(folder);
    const ready: { name: string; contender: Contender }[] = [];
    try {
      for (const { name, make, content } of wanted) ready.push({ name, contender: await make(folder, SIZE_BYTES, content) });
      for (let round = 0; round < options.rounds; round++) {
        for (const { name, contender } of ready) {
          const times = await oneRound(contender, { mountPoint: join(folder, 'mnt'), steps, input });
          for (const [at, time] of times.entries()) seconds.get(name)?.[at]?.push(time);
        }
      }
    } finally {
      for (const { contender } of ready) await contender.close();
    }
  });
  return reportOf(steps, seconds);
}

async function oneRound(
  contender: Contender,
  { mountPoint, steps, input }: { mountPoint: string; steps: readonly Step[]; input: Inputs },
): Promise<number[]> {
  await contender.reset();
  const times: number[] = [];
  await withExt4(contender.device, mountPoint, async () => {
    for (const { work } of steps) {
      // A fresh mount has nothing in its caches.
      await run('umount', [mountPoint]);
      await run('mount', ['-t', 'ext4', contender.device, mountPoint]);
      const start = performance.now();
      await work(mountPoint, input);
      await run('sync', ['--file-system', mountPoint]);
      times.push((performance.now() - start) / 1000);
    }
  });
  return times;
}

/** A tar of what every Debian has, and one of small files. */
async function makeInputs(folder: string): Promise<Inputs> {
  const [rootTar, smallTar, small] = ['root.tar', 'small.tar', 'small'].map((name) => join(folder, name)) as [string, string, string];
  await run('tar', ['-cf', rootTar, '-C', '/usr', 'bin', 'sbin', 'share/doc', 'share/perl']);
  for (let at = 0; at < SMALL_FILES; at++) {
    const directory = join(small, `d${at % 100}`);
    if (at < 100) await mkdir(directory, { recursive: true });
    await writeFile(join(directory, `f${at}`), Buffer.alloc(512 + ((at * 2654435761) % 12_000), `line of file ${at}\n`));
  }
  await run('tar', ['-cf', smallTar, '-C', folder, 'small']);
  return { rootTar, smallTar };
}

async function unpack(tar: string, into: string): Promise<void> {
  await mkdir(into);
  await run('tar', ['-xf', tar, '-C', into]);
}

function commits(): string {
  const inserts = Array.from({ length: COMMITS }, (_, at) => `INSERT INTO t VALUES (${at}, hex(randomblob(200)));`);
  return ['CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);', ...inserts].join('\n');
}

function reportOf(steps: readonly Step[], seconds: ReadonlyMap<string, readonly number[][]>): Report {
  const [first = '', ...others] = seconds.keys();
  const rows = steps.map(({ title }, at) => {
    const base = seconds.get(first)?.[at] ?? [];
    // Speed, so that more is better here, too.
    const cells = others.map((name) => ratioText(ratioOf(base, seconds.get(name)?.[at] ?? [])));
    return [title, `${spreadOf(base).median.toFixed(2)} s`, ...cells];
  });
  return {
    title: 'ext4: speed, ratio to the loop device on an allocated raw file',
    columns: ['work', `${first}, time`, ...others],
    rows,
    notes: ['Each with a sync of the file system at its end, on a fresh mount. Median of the ratios, lowest and highest.', NO_PEER],
    figures: Object.fromEntries(seconds),
  };
}
