// SPDX-License-Identifier: Apache-2.0
// The steps of a compaction that work through the mounted file system: trim and pack.
import { PloopError } from '../../errors.js';
import { packFileSystem } from '../pack.js';
import { belowRanges } from '../space/below.js';
import { reclaimable } from '../space/reclaimable.js';
import { syncFileSystem } from '../sync.js';
import { trimFileSystem, trimJournal } from '../trim.js';
import type { FileSystemType } from '../type.js';
import type { StepOutcome } from './compact-step.js';
import type { Work } from './compact.js';

/** 64 blocks, always. */
const CLUSTER_BLOCKS = 64;
/** ploop makes no other. */
const EXT4_BLOCK_BYTES = 4096;

export async function trimStep(work: Work, mountPoint: string, type: FileSystemType): Promise<StepOutcome> {
  const { options, descriptor } = work;
  if (options.trim === false) return { skipped: 'not asked for' };
  if (descriptor.discard === 'off') return { skipped: 'discards are off: see ploop set --discard' };
  const timeBudgetMs = timeLeft(work);
  if (timeBudgetMs === 0) return { skipped: 'the time was used up' };
  const { signal, onProgress, busyPercent } = options;
  const figures = await trimFileSystem(mountPoint, { signal, onProgress, busyPercent, timeBudgetMs });
  // Packing fills the journal again and discards it in the end; it is a wait for whoever writes, so it is made once.
  const later = packSkipped(work, type) === undefined;
  const journal = type === 'ext4' && figures.stopped === 'done' && !later ? await trimJournal(mountPoint, { signal }) : false;
  await syncFileSystem(mountPoint);
  return { ...figures, journal };
}

/** Blocks of files move together, until no more units of what the host takes back can become empty. */
export async function packStep(work: Work, mountPoint: string, type: FileSystemType): Promise<StepOutcome> {
  const { options } = work;
  const why = packSkipped(work, type);
  if (why !== undefined) return { skipped: why };
  const timeBudgetMs = timeLeft(work);
  if (timeBudgetMs === 0) return { skipped: 'the time was used up' };
  const { runDir, signal, onProgress, rateBytesPerSecond, busyPercent } = options;
  const unitBytes = packUnit(work);
  const below = work.descriptor.layers.length > 1 ? await belowRanges(work.dir, { runDir, signal }) : undefined;
  try {
    const packed = await packFileSystem(mountPoint, {
      unitBytes,
      below,
      signal,
      onProgress,
      rateBytesPerSecond,
      busyPercent,
      timeBudgetMs,
    });
    const again = packed.stopped === 'done' ? await trimAgain(work, mountPoint) : 0;
    await syncFileSystem(mountPoint);
    const { stopped, movedBytes, trimmedBytes, gentlePauses, before } = packed;
    return { stopped, movedBytes, trimmedBytes, gentlePauses: gentlePauses + again, expectedBytes: before.gainBytes };
  } catch (error) {
    // Nobody asked for it in so many words: the other steps are worth making all the same.
    if (options.pack === true || !(error instanceof PloopError) || !['UNSUPPORTED', 'TOOL_FAILED', 'NO_SPACE'].includes(error.code))
      throw error;
    return { skipped: error.message };
  }
}

/** Each move went through the journal; and see below. Answers the pauses made. */
async function trimAgain(work: Work, mountPoint: string): Promise<number> {
  const { signal, trim } = work.options;
  if (trim === false || timeLeft(work) === 0) return 0;
  const pauses = await trimFreed(work, mountPoint);
  await trimJournal(mountPoint, { signal });
  return pauses;
}

/**
 * What others wrote and deleted while compaction went on costs the host space, though it is free and was so when it was trimmed: on
 * a busy disk that is more than what packing leaves. Only that is named now, which takes a moment. Answers the pauses made.
 */
export async function trimFreed(work: Work, mountPoint: string): Promise<number> {
  const { dir, attachment, descriptor, options } = work;
  const timeBudgetMs = timeLeft(work);
  // Without an attachment it is mounted out of sight: there are no others.
  if (attachment === null || timeBudgetMs === 0) return 0;
  const { signal, busyPercent } = options;
  await syncFileSystem(mountPoint);
  const ranges = await reclaimable(dir, attachment, { discard: descriptor.discard, signal });
  if (ranges.length === 0) return 0;
  const { gentlePauses } = await trimFileSystem(mountPoint, { ranges, signal, busyPercent, timeBudgetMs });
  return gentlePauses;
}

/** Why the image is not packed; undefined: it is. Where the host takes back every block of ext4, there is nothing to gain. */
function packSkipped({ options, descriptor }: Work, type: FileSystemType): string | undefined {
  if (options.pack === false) return 'not asked for';
  if (options.pack !== true) {
    const { discard, blockSize } = descriptor;
    if (discard === 'off' || (discard === 'block' && blockSize <= EXT4_BLOCK_BYTES)) {
      return `does not pay: with --discard ${discard} it would free nothing`;
    }
  }
  return type === 'ext4' ? undefined : `${type} cannot be packed`;
}

/** What the host takes back in one piece. */
function packUnit({ descriptor: { discard, blockSize } }: Work): number {
  return discard === 'block' && blockSize > EXT4_BLOCK_BYTES ? blockSize : CLUSTER_BLOCKS * blockSize;
}

/** undefined: no budget. */
function timeLeft({ endMs }: Work): number | undefined {
  return endMs === Infinity ? undefined : Math.max(0, Math.round(endMs - performance.now()));
}
