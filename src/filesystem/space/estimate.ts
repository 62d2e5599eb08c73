// SPDX-License-Identifier: Apache-2.0
// What trimming, packing and deleting snapshots could give back, from counted blocks. docs/guides/space.md.
import type { DiscardPolicy } from '../../native/index.js';
import type { BlockCounts } from './blocks.js';

/** Of a cluster. */
const BLOCKS = 64;

export interface Measured {
  counts: BlockCounts;
  /** Free space in blocks of the top that are partly used: where they are larger than those of the file system. */
  partlyFreeBytes: number;
  blockSizeBytes: number;
  discard: DiscardPolicy;
  /** What the host spends on the top's file. */
  topHostBytes: number;
  /** Whether `ploop compact` can move blocks of its files. */
  canPack: boolean;
}

/** Clusters that were never written as a whole cost less than their size: no estimate is beyond what the host spends on what is not used. */
export function trimAndPack(measured: Measured): { trimBytes: number; packBytes: number } {
  const { counts, partlyFreeBytes, blockSizeBytes, topHostBytes } = measured;
  const usedBytes = (counts.top - counts.topFree) * blockSizeBytes - partlyFreeBytes;
  const room = Math.max(0, topHostBytes - usedBytes);
  const trimBytes = Math.min(trimmable(measured), room);
  return { trimBytes, packBytes: Math.min(packable(measured, usedBytes), room - trimBytes) };
}

/** What discards of all free blocks would give back, as the image's policy is. */
function trimmable({ counts, blockSizeBytes, discard }: Measured): number {
  if (discard === 'off') return 0;
  return (discard === 'block' ? counts.topFree : (counts.clusters - counts.clustersUsed) * BLOCKS) * blockSizeBytes;
}

/**
 * Units that would become empty if what is in use stood as close together as it can. Where every block of the file system is given
 * back by itself, there are none.
 */
function packable({ counts, blockSizeBytes, discard, canPack }: Measured, usedBytes: number): number {
  if (discard === 'off' || !canPack) return 0;
  const unitBytes = blockSizeBytes * (discard === 'block' ? 1 : BLOCKS);
  const held = discard === 'block' ? counts.top - counts.topFree : counts.clustersUsed;
  return Math.max(0, held - Math.ceil(usedBytes / unitBytes)) * unitBytes;
}

/**
 * What layers of snapshots hold beyond what is used of them. Layers that others share (a template's) keep what they have, whatever is
 * deleted here; how much of what is used is seen there is not known, so this is an upper bound then.
 */
export function heldBySnapshots(snapshotDataBytes: number, keptDataBytes: number, seenUsedBytes: number): number {
  return Math.max(0, snapshotDataBytes - Math.max(0, seenUsedBytes - keptDataBytes));
}
