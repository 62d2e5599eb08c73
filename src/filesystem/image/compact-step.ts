// SPDX-License-Identifier: Apache-2.0
// One step of a compaction, measured: what the host spent before and after it, and how long it took.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { PloopError } from '../../errors.js';
import type { LongWork } from '../../native/stoppable.js';
import type { Work } from './compact.js';

/** Which of them a step has depends on the step. */
export interface StepFigures {
  /** trim: what the file system named as free; pack: the same in what it emptied. */
  trimmedBytes?: number;
  /** trim: how many calls, and what the longest of them took. */
  calls?: number;
  longestUs?: number;
  /** trim, pack: pauses that were made longer, because others used the device. */
  gentlePauses?: number;
  /** trim: ext4's journal was written back and discarded, too. */
  journal?: boolean;
  /** pack: file data that moved, and what it said beforehand that it would bring. */
  movedBytes?: number;
  expectedBytes?: number;
  /** below: layers that no snapshot shows, those of them that others use, and what went back of them. */
  layers?: number;
  inUse?: number;
  punchedBytes?: number;
  /** relocate */
  clustersFreed?: number;
  clustersMoved?: number;
}

export interface CompactStep extends StepFigures {
  step: 'trim' | 'pack' | 'below' | 'relocate';
  /** Why it was left out; null: it was made. */
  skipped: string | null;
  /** 'time': the budget was used up before it was done. */
  stopped: 'done' | 'time' | null;
  /** Of all layers; null for a step that was left out. */
  hostBytesBefore: number | null;
  hostBytesAfter: number | null;
  ms: number;
}

/** The work of a step: its figures, or why it is left out. */
export type StepOutcome = (StepFigures & { stopped?: 'done' | 'time' }) | { skipped: string };

export async function measured(dir: string, step: CompactStep['step'], work: () => Promise<StepOutcome>): Promise<CompactStep> {
  const hostBytesBefore = await hostBytes(dir);
  const startedMs = performance.now();
  const outcome = await work();
  const ms = Math.round(performance.now() - startedMs);
  if ('skipped' in outcome) return { step, skipped: outcome.skipped, stopped: null, hostBytesBefore: null, hostBytesAfter: null, ms };
  const { stopped = 'done', ...figures } = outcome;
  return { step, skipped: null, stopped, hostBytesBefore, hostBytesAfter: await hostBytes(dir), ms, ...figures };
}

/** What a timer can count. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Work on the image's layers, ended when the time is up. Where ploopd is busy with something else (a merge after a deletion), the step
 * is left out: the others have been made by then.
 */
export async function withinTime(
  { attachment, endMs, options }: Work,
  work: (long: LongWork) => Promise<StepOutcome>,
): Promise<StepOutcome> {
  const { signal, onProgress } = options;
  const time = new AbortController();
  const timer = setTimeout(() => time.abort(), Math.min(LONGEST_MS, endMs - performance.now()));
  try {
    return await work({
      signal: signal === undefined ? time.signal : AbortSignal.any([signal, time.signal]),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
  } catch (error) {
    if (!(error instanceof PloopError)) throw error;
    if (error.code === 'INTERRUPTED' && time.signal.aborted && signal?.aborted !== true) return { stopped: 'time' };
    if (error.code === 'BUSY' && attachment !== null) return { skipped: error.message };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** What the host spends on the layer files. */
export async function hostBytes(dir: string): Promise<number> {
  const folder = join(dir, 'layers');
  const files = await readdir(folder);
  const sizes = await Promise.all(files.map((file) => stat(join(folder, file)).catch(() => null)));
  return sizes.reduce((sum, one) => sum + (one?.blocks ?? 0) * 512, 0);
}
