// SPDX-License-Identifier: Apache-2.0
// Does the space come back? An ext4 grows old in each of several images; then what the host spends on it is compared with what
// the file system uses: aged, after fstrim alone, after everything ploop compact does. A database commits all the while.
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../src/exec/run.js';
import { withWorkshop } from './images.js';
import { type BenchOptions, pick } from './options.js';
import type { Report } from './report.js';
import { age, AGING, changedFiles, checksums } from './space/aging.js';
import { type Database, startDatabase } from './space/database.js';
import { ownersReport } from './space/owners-report.js';
import type { Owners } from './space/owners.js';
import { ourImage, qcow2Image, type OurOptions, type Subject } from './space/subject.js';
import { quantile, ratioOf, ratioText } from './statistics.js';

const MIB = 2 ** 20;
/** Nothing but the database. */
const QUIET = 'nothing';
/** Programs read the device to see whose the space is: of no interest. */
const LOOKING = 'looking';

const PEER = 'qcow2';

const OURS: readonly Pick<OurOptions, 'name' | 'blockSizeBytes' | 'discard'>[] = [
  { name: 'ours 4 KiB', blockSizeBytes: 4096, discard: 'block' },
  { name: 'ours 64 KiB', blockSizeBytes: 65536, discard: 'block' },
  { name: 'ours 4 KiB whole clusters', blockSizeBytes: 4096, discard: 'cluster' },
];

/** Of the file system in the first round; later ones are for the latencies. */
const AGAIN = { generations: 2 };

interface Outcome {
  name: string;
  files: number;
  usedBytes: number;
  agedBytes: number;
  trimmedBytes: number;
  compactedBytes: number | null;
  packed: string;
  /** Of each round, after everything. */
  owners: Owners[];
  /** What commits took while nothing else went on and during each step, by round. */
  rounds: Map<string, number[]>[];
  lostCommits: number;
  changedFiles: number;
}

export const NAMES = OURS.map(({ name }) => name);

export async function bench(options: BenchOptions): Promise<Report[]> {
  const outcomes = await withWorkshop(async ({ folder, runDir }) => {
    const all: Outcome[] = [];
    const qcow2 = options.only.length === 0 || options.only.includes(PEER);
    const names = options.only.filter((name) => name !== PEER);
    const wanted = qcow2 && names.length === 0 && options.only.length > 0 ? [] : pick('image', OURS, names);
    for (const one of wanted) {
      say(`aging ${one.name}`);
      all.push(await measure(await ourImage({ ...one, folder, runDir, sizeBytes: options.sizeBytes }), options));
    }
    if (!qcow2) return all;
    say('aging qcow2');
    try {
      all.push(await measure(await qcow2Image({ folder, sizeBytes: options.sizeBytes }), options));
    } catch (error) {
      say(`qcow2 could not be measured: ${error instanceof Error ? error.message : String(error)}`);
    }
    return all;
  });
  return [spaceReport(outcomes), ownersReport(outcomes), latencyReport(outcomes)];
}

type Space = Pick<Outcome, 'usedBytes' | 'agedBytes' | 'trimmedBytes' | 'compactedBytes' | 'packed'>;

async function measure(subject: Subject, { seconds, rounds }: BenchOptions): Promise<Outcome> {
  const { mountPoint, name } = subject;
  const outcome: Outcome = { ...NO_SPACE, name, files: 0, owners: [], rounds: [], lostCommits: 0, changedFiles: 0 };
  try {
    for (let round = 0; round < rounds; round++) {
      const { files } = await age(mountPoint, { ...AGING, ...(round === 0 ? {} : AGAIN), seed: round + 1, prefix: `r${round}-` });
      const sums = await checksums(mountPoint);
      const database = await startDatabase(join(mountPoint, `commits-${round}.db`), QUIET);
      const { owners, ...space } = await aside(subject, database, seconds).catch(async (error: unknown) => {
        await database.close().catch(() => undefined); // else the file system stays in use, and that is all one would hear of
        throw error;
      });
      if (owners !== undefined) outcome.owners.push(owners);
      const took = database.take();
      took.delete(LOOKING);
      outcome.rounds.push(took);
      if (round === 0) Object.assign(outcome, space, { files });
      const { acknowledged, rows } = await database.close();
      await subject.remount();
      outcome.changedFiles += changedFiles(sums, await checksums(mountPoint));
      outcome.lostCommits += acknowledged - rows;
    }
    return outcome;
  } finally {
    await subject.close();
  }
}

const NO_SPACE: Space = { usedBytes: 0, agedBytes: 0, trimmedBytes: 0, compactedBytes: null, packed: '' };

/** Space comes back beside the database: quiet before and after it. */
async function aside(
  { mountPoint, hostBytes, compact, owners }: Subject,
  database: Database,
  seconds: number,
): Promise<Space & { owners: Owners | undefined }> {
  const quiet = async (): Promise<void> => {
    database.mark(QUIET);
    await sleep((seconds * 1000) / 2);
  };
  await quiet();
  const agedBytes = await hostBytes();
  let packed = '';
  let trimmedBytes: number;
  let compactedBytes: number | null = null;
  database.mark('trim');
  if (compact === undefined) {
    await run('fstrim', [mountPoint]);
    trimmedBytes = await hostBytes();
  } else {
    const { steps } = await compact({ onStep: (step) => database.mark(step) });
    const pack = steps.find(({ step }) => step === 'pack');
    packed = pack?.skipped ?? `${mib(pack?.movedBytes ?? 0)} moved in ${((pack?.ms ?? 0) / 1000).toFixed(1)} s`;
    trimmedBytes = steps.find(({ step }) => step === 'trim')?.hostBytesAfter ?? 0;
    compactedBytes = await hostBytes();
  }
  const usedBytes = await bytesUsed(mountPoint);
  await quiet();
  database.mark(LOOKING);
  return {
    usedBytes,
    agedBytes,
    trimmedBytes,
    compactedBytes,
    packed,
    owners: compactedBytes === null ? undefined : await owners?.(compactedBytes),
  };
}

async function bytesUsed(mountPoint: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(mountPoint);
  return (blocks - bfree) * bsize;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

function spaceReport(outcomes: readonly Outcome[]): Report {
  const smear = (bytes: number, used: number): string => `${mib(bytes)} (${(((bytes - used) / used) * 100).toFixed(1)} %)`;
  const target = ({ compactedBytes, usedBytes }: Outcome): string =>
    compactedBytes === null ? '-' : compactedBytes <= 1.02 * usedBytes + 16 * MIB ? 'yes' : 'no';
  return {
    title: 'Space: an aged ext4, and what the host spends on it (smear in brackets)',
    columns: [
      'image',
      'files',
      'ext4 uses',
      'aged',
      'trimmed',
      'compacted',
      '≤ 1.02 × + 16 MiB',
      'packing',
      'files changed',
      'commits lost',
    ],
    rows: outcomes.map((one) => [
      one.name,
      String(one.files),
      mib(one.usedBytes),
      smear(one.agedBytes, one.usedBytes),
      smear(one.trimmedBytes, one.usedBytes),
      one.compactedBytes === null ? '-' : smear(one.compactedBytes, one.usedBytes),
      target(one),
      one.packed,
      String(one.changedFiles),
      String(one.lostCommits),
    ]),
    notes: ['Trimmed: the file system named its free space and nothing else was done. e2fsck found all of them clean in the end.'],
    figures: outcomes.map(({ rounds, ...one }) => ({ ...one, rounds: rounds.map((round) => Object.fromEntries(round)) })),
  };
}

const percentile = (values: readonly number[], at: number): number =>
  quantile(
    values.toSorted((a, b) => a - b),
    at,
  );

function latencyReport(outcomes: readonly Outcome[]): Report {
  const rows = outcomes.flatMap(({ name, rounds }) => {
    const phases = [...new Set(rounds.flatMap((one) => [...one.keys()]))];
    return phases.map((phase) => {
      const both = rounds.filter((one) => one.has(phase));
      const all = both.flatMap((one) => one.get(phase) ?? []);
      const p99 = (of: string): number[] => both.map((one) => percentile(one.get(of) ?? [], 0.99));
      const ratio = phase === QUIET ? '' : ratioText(ratioOf(p99(phase), p99(QUIET)));
      return [name, phase, String(all.length), ...[0.5, 0.99, 1].map((at) => `${percentile(all, at).toFixed(1)} ms`), ratio];
    });
  });
  return {
    title: 'Space: commits of a sqlite database beside it',
    columns: ['image', 'during', 'commits', 'median', '99 %', 'most', '99 %, ratio to quiet (spread over rounds)'],
    rows,
  };
}

function say(text: string): void {
  process.stderr.write(`bench: space: ${text}\n`);
}
