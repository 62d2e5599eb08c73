// SPDX-License-Identifier: Apache-2.0
// Space comes back beside a database, with quiet before, in the middle and after it: on a machine that others use, what a commit
// takes changes by the minute, so that a step is compared with what was next to it. And once more relocation alone,
// behind files that leave the layer's tail in use and holes below it: after aging it may be over within a few commits.
import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../src/exec/run.js';
import type { CompactStep } from '../../src/filesystem/image/compact-step.js';
import type { Database } from './database.js';
import type { Owners } from './owners.js';
import type { Subject } from './subject.js';

const MIB = 2 ** 20;
/** Nothing but the database. */
export const QUIET = 'nothing';
/** What is done between measurements. */
export const ASIDE = 'aside';
/** Of the disk: each of the two files of which one leaves the holes and the other is moved into them. */
const TAIL_PART = 1 / 8;

export interface Space {
  usedBytes: number;
  agedBytes: number;
  trimmedBytes: number;
  compactedBytes: number | null;
  packed: string;
}

export const NO_SPACE: Space = { usedBytes: 0, agedBytes: 0, trimmedBytes: 0, compactedBytes: null, packed: '' };

export async function besideDatabase(
  subject: Subject,
  database: Database,
  seconds: number,
): Promise<Space & { owners: Owners | undefined }> {
  const quiet = async (): Promise<void> => {
    database.mark(QUIET);
    await sleep((seconds * 1000) / 2);
    database.mark(ASIDE);
  };
  await quiet();
  const agedBytes = await subject.hostBytes();
  const space = subject.compact === undefined ? await fstrim(subject, database) : await steps(subject, subject.compact, database, quiet);
  await quiet();
  const owners = space.compactedBytes === null ? undefined : await subject.owners?.(space.compactedBytes);
  if (subject.compact !== undefined) {
    await leaveTail(subject.mountPoint);
    await quiet();
    // Its trim makes the holes; that has been measured.
    await subject.compact({ ...LAYER, onStep: (step) => database.mark(step === 'trim' ? ASIDE : step) });
    await quiet();
  }
  return { ...space, agedBytes, owners };
}

/** Whether packing pays is left to the command. With relocation once more trim: what the database wrote and deleted since. */
const FILE_SYSTEM = { below: false, relocate: false } as const;
const LAYER = { pack: false, below: false } as const;

type Quiet = () => Promise<void>;
type Compact = NonNullable<Subject['compact']>;

async function steps(
  { mountPoint, hostBytes }: Subject,
  compact: Compact,
  database: Database,
  quiet: Quiet,
): Promise<Omit<Space, 'agedBytes'>> {
  const made: CompactStep[] = [];
  for (const only of [FILE_SYSTEM, LAYER]) {
    if (made.length > 0) await quiet();
    const compacted = await compact({ ...only, onStep: (step) => database.mark(step === 'trim' && made.length > 0 ? ASIDE : step) });
    database.mark(ASIDE);
    made.push(...compacted.steps);
  }
  const pack = made.find(({ step }) => step === 'pack');
  return {
    usedBytes: await bytesUsed(mountPoint),
    trimmedBytes: made.find(({ step }) => step === 'trim')?.hostBytesAfter ?? 0,
    compactedBytes: await hostBytes(),
    packed: pack?.skipped ?? `${((pack?.movedBytes ?? 0) / MIB).toFixed(1)} MiB moved in ${((pack?.ms ?? 0) / 1000).toFixed(1)} s`,
  };
}

async function fstrim({ mountPoint, hostBytes }: Subject, database: Database): Promise<Omit<Space, 'agedBytes'>> {
  database.mark('trim');
  await run('fstrim', [mountPoint]);
  database.mark(ASIDE);
  return { usedBytes: await bytesUsed(mountPoint), trimmedBytes: await hostBytes(), compactedBytes: null, packed: '' };
}

async function leaveTail(mountPoint: string): Promise<void> {
  const { blocks, bsize } = await statfs(mountPoint);
  const mibs = Math.ceil((blocks * bsize * TAIL_PART) / MIB);
  const [below, above] = [join(mountPoint, 'tail-below'), join(mountPoint, 'tail-above')];
  await rm(above, { force: true }); // of the last round
  for (const path of [below, above]) {
    const file = await open(path, 'w');
    try {
      for (let n = 0; n < mibs; n++) await file.write(Buffer.alloc(MIB, n + 1));
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await rm(below);
  await run('sync', ['-f', mountPoint]);
}

async function bytesUsed(mountPoint: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(mountPoint);
  return (blocks - bfree) * bsize;
}
