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
import { age, changedFiles, checksums } from './space/aging.js';
import { startDatabase } from './space/database.js';
import { ourImage, qcow2Image, type OurOptions, type Subject } from './space/subject.js';
import { quantile } from './statistics.js';

const MIB = 2 ** 20;

const OURS: readonly Pick<OurOptions, 'name' | 'blockSizeBytes' | 'discard'>[] = [
  { name: 'ours, 4 KiB', blockSizeBytes: 4096, discard: 'block' },
  { name: 'ours, 64 KiB', blockSizeBytes: 65536, discard: 'block' },
  { name: 'ours, 4 KiB, whole clusters', blockSizeBytes: 4096, discard: 'cluster' },
];

interface Outcome {
  name: string;
  files: number;
  usedBytes: number;
  agedBytes: number;
  trimmedBytes: number;
  compactedBytes: number | null;
  packed: string;
  /** Of commits, before and during compaction. */
  beforeMs: number[];
  duringMs: number[];
  lostCommits: number;
  changedFiles: number;
}

export async function bench(options: BenchOptions): Promise<Report[]> {
  const outcomes = await withWorkshop(async ({ folder, runDir }) => {
    const all: Outcome[] = [];
    const wanted = pick('image', OURS, options.only);
    for (const one of wanted) {
      say(`aging ${one.name}`);
      all.push(await measure(await ourImage({ ...one, folder, runDir, sizeBytes: options.sizeBytes }), options));
    }
    if (options.only.length > 0) return all;
    say('aging qcow2');
    try {
      all.push(await measure(await qcow2Image({ folder, sizeBytes: options.sizeBytes }), options));
    } catch (error) {
      say(`qcow2 could not be measured: ${error instanceof Error ? error.message : String(error)}`);
    }
    return all;
  });
  return [spaceReport(outcomes), latencyReport(outcomes)];
}

async function measure(subject: Subject, { seconds }: BenchOptions): Promise<Outcome> {
  const { mountPoint, name } = subject;
  try {
    const { files } = await age(mountPoint);
    const sums = await checksums(mountPoint);
    const database = await startDatabase(join(mountPoint, 'commits.db'));
    const beforeMs = await database.during(() => sleep(seconds * 1000));
    const agedBytes = await subject.hostBytes();
    let trimmedBytes = 0;
    let packed = '';
    let compactedBytes: number | null = null;
    const duringMs = await database.during(async () => {
      await (subject.compact === undefined ? run('fstrim', [mountPoint]) : subject.compact({ pack: false, relocate: false }));
      trimmedBytes = await subject.hostBytes();
      if (subject.compact === undefined) return;
      const { steps } = await subject.compact();
      const pack = steps.find(({ step }) => step === 'pack');
      packed = pack?.skipped ?? `${mib(pack?.movedBytes ?? 0)} moved in ${((pack?.ms ?? 0) / 1000).toFixed(1)} s`;
      compactedBytes = await subject.hostBytes();
    });
    const usedBytes = await bytesUsed(mountPoint);
    const { acknowledged, rows } = await database.close();
    await subject.remount();
    const changed = changedFiles(sums, await checksums(mountPoint));
    const lostCommits = acknowledged - rows;
    return {
      name,
      files,
      usedBytes,
      agedBytes,
      trimmedBytes,
      compactedBytes,
      packed,
      beforeMs,
      duringMs,
      lostCommits,
      changedFiles: changed,
    };
  } finally {
    await subject.close();
  }
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
    notes: [
      'Trimmed: the file system named its free space and nothing else was done. e2fsck found those on our images clean; that on qcow2 is not checked.',
    ],
    figures: outcomes,
  };
}

function latencyReport(outcomes: readonly Outcome[]): Report {
  const cells = (values: readonly number[]): string[] => {
    const sorted = values.toSorted((a, b) => a - b);
    return [0.5, 0.99, 1].map((at) => `${quantile(sorted, at).toFixed(1)} ms`);
  };
  return {
    title: 'Space: commits of a sqlite database before and during it',
    columns: ['image', 'before: median', '99 %', 'most', 'during: median', '99 %', 'most', '99 %, ratio'],
    rows: outcomes.map(({ name, beforeMs, duringMs }) => {
      const p99 = (values: readonly number[]): number =>
        quantile(
          values.toSorted((a, b) => a - b),
          0.99,
        );
      return [name, ...cells(beforeMs), ...cells(duringMs), (p99(duringMs) / p99(beforeMs)).toFixed(2)];
    }),
  };
}

function say(text: string): void {
  process.stderr.write(`bench: space: ${text}\n`);
}
