// SPDX-License-Identifier: Apache-2.0
// The steps of a compaction that work through the mounted file system: trim and pack.
import { PloopError } from '../../errors.js';
import { packFileSystem } from '../pack.js';
import { syncFileSystem } from '../sync.js';
import { trimFileSystem, trimJournal } from '../trim.js';
import type { FileSystemType } from '../type.js';
import type { StepOutcome } from './compact-step.js';
import type { Work } from './compact.js';

/** 64 blocks, always. */
const CLUSTER_BLOCKS = 64;

export async function trimStep(work: Work, mountPoint: string, type: FileSystemType): Promise<StepOutcome> {
  const { options, descriptor } = work;
  if (options.trim === false) return { skipped: 'not asked for' };
  if (descriptor.discard === 'off') return { skipped: 'discards are off: see ploop set --discard' };
  const timeBudgetMs = timeLeft(work);
  if (timeBudgetMs === 0) return { skipped: 'the time was used up' };
  const { signal, onProgress, busyPercent } = options;
  const figures = await trimFileSystem(mountPoint, { signal, onProgress, busyPercent, timeBudgetMs });
  const journal = type === 'ext4' && figures.stopped === 'done' ? await trimJournal(mountPoint, { signal }) : false;
  await syncFileSystem(mountPoint);
  return { ...figures, journal };
}

/** Where every block goes back by itself, a sparsely used cluster costs no more than a full one: nothing to gain. */
export async function packStep(work: Work, mountPoint: string, type: FileSystemType): Promise<StepOutcome> {
  const { options, descriptor } = work;
  if (options.pack === false) return { skipped: 'not asked for' };
  if (options.pack !== true && descriptor.discard !== 'cluster') {
    return { skipped: `does not pay: with --discard ${descriptor.discard} it would free nothing` };
  }
  if (options.pack !== true && descriptor.layers.length > 1) {
    return { skipped: 'does not pay: what it moves would be written anew, and layers below would keep the old' };
  }
  if (type !== 'ext4') return { skipped: `${type} cannot be packed` };
  const timeBudgetMs = timeLeft(work);
  if (timeBudgetMs === 0) return { skipped: 'the time was used up' };
  const { signal, onProgress, rateBytesPerSecond, busyPercent } = options;
  const unitBytes = CLUSTER_BLOCKS * descriptor.blockSize;
  try {
    const packed = await packFileSystem(mountPoint, { unitBytes, signal, onProgress, rateBytesPerSecond, busyPercent, timeBudgetMs });
    // Each move went through the journal.
    if (packed.movedBytes > 0) await trimJournal(mountPoint, { signal });
    await syncFileSystem(mountPoint);
    const { stopped, movedBytes, trimmedBytes, gentlePauses, before } = packed;
    return { stopped, movedBytes, trimmedBytes, gentlePauses, expectedBytes: before.gainBytes };
  } catch (error) {
    // Nobody asked for it in so many words: the other steps are worth making all the same.
    if (options.pack === true || !(error instanceof PloopError) || !['UNSUPPORTED', 'TOOL_FAILED'].includes(error.code)) throw error;
    return { skipped: error.message };
  }
}

/** undefined: no budget. */
function timeLeft({ endMs }: Work): number | undefined {
  return endMs === Infinity ? undefined : Math.max(0, Math.round(endMs - performance.now()));
}
