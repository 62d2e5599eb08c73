// SPDX-License-Identifier: Apache-2.0
// Does the space come back? An ext4 grows old in each of several images; then what the host spends on it is compared with what
// the file system uses: aged, after fstrim alone, after everything ploop compact does. A database commits all the while.
import { join } from 'node:path';
import { withWorkshop } from './images.js';
import { type BenchOptions, pick } from './options.js';
import type { Report } from './report.js';
import { age, AGING, changedFiles, checksums } from './space/aging.js';
import { ASIDE, besideDatabase, NO_SPACE, QUIET, type Space } from './space/beside.js';
import { startDatabase } from './space/database.js';
import { ownersReport } from './space/owners-report.js';
import type { Owners } from './space/owners.js';
import { ourImage, qcow2Image, type OurOptions, type Subject } from './space/subject.js';
import { quantile, ratioOf, ratioText } from './statistics.js';

const MIB = 2 ** 20;
const PEER = 'qcow2';

const OURS: readonly Pick<OurOptions, 'name' | 'blockSizeBytes' | 'discard'>[] = [
  { name: 'ours 4 KiB', blockSizeBytes: 4096, discard: 'block' },
  { name: 'ours 64 KiB', blockSizeBytes: 65536, discard: 'block' },
  { name: 'ours 4 KiB whole clusters', blockSizeBytes: 4096, discard: 'cluster' },
];

/** Of the file system in the first round; later ones are for the latencies. */
const AGAIN = { generations: 2 };

interface Outcome extends Space {
  name: string;
  files: number;
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

async function measure(subject: Subject, { seconds, rounds }: BenchOptions): Promise<Outcome> {
  const { mountPoint, name } = subject;
  const outcome: Outcome = { ...NO_SPACE, name, files: 0, owners: [], rounds: [], lostCommits: 0, changedFiles: 0 };
  try {
    for (let round = 0; round < rounds; round++) {
      const { files } = await age(mountPoint, { ...AGING, ...(round === 0 ? {} : AGAIN), seed: round + 1, prefix: `r${round}-` });
      const sums = await checksums(mountPoint);
      const database = await startDatabase(join(mountPoint, `commits-${round}.db`), QUIET);
      const { owners, ...space } = await besideDatabase(subject, database, seconds).catch(async (error: unknown) => {
        await database.close().catch(() => undefined); // else the file system stays in use, and that is all one would hear of
        throw error;
      });
      if (owners !== undefined) outcome.owners.push(owners);
      const took = database.take();
      took.delete(ASIDE);
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

/** p99 of all commits against all quiet ones, how many took longer than 99 % of those, and the rounds one by one. */
function latencyReport(outcomes: readonly Outcome[]): Report {
  const rows = outcomes.flatMap(({ name, rounds }) => {
    const phases = [...new Set(rounds.flatMap((one) => [...one.keys()]))];
    return phases.map((phase) => {
      const both = rounds.filter((one) => one.has(phase));
      const of = (which: string): number[] => both.flatMap((one) => one.get(which) ?? []);
      const p99 = (which: string): number[] => both.map((one) => percentile(one.get(which) ?? [], 0.99));
      const all = of(phase);
      const limit = percentile(of(QUIET), 0.99);
      const slow = all.filter((ms) => ms > limit).length / all.length;
      const against = [
        (percentile(all, 0.99) / limit).toFixed(2),
        `${(slow * 100).toFixed(1)} %`,
        ratioText(ratioOf(p99(phase), p99(QUIET))),
      ];
      return [
        name,
        phase,
        String(all.length),
        ...[0.5, 0.99, 1].map((at) => `${percentile(all, at).toFixed(1)} ms`),
        ...(phase === QUIET ? ['', '', ''] : against),
      ];
    });
  });
  return {
    title: 'Space: commits of a sqlite database beside it',
    columns: [
      'image',
      'during',
      'commits',
      'median',
      '99 %',
      'most',
      'ratio to quiet, 99 %',
      'slower than 99 % of quiet',
      'ratio, median of rounds (spread)',
    ],
    rows,
    notes: [
      'The 99 % of fewer than some 500 commits is little more than their slowest. Ratios of 99 % are of all rounds together, then round by round.',
    ],
  };
}

function say(text: string): void {
  process.stderr.write(`bench: space: ${text}\n`);
}
