// SPDX-License-Identifier: Apache-2.0
// How `ploop info` and `ploop stat` tell what an image costs.
import type { MeasuredLayer, SpaceEstimate } from '../../filesystem/space/measure.js';
import { formatSize } from '../../units.js';

const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** `[name, text]` for renderFacts; null leaves a line out. */
export function spaceFacts(space: SpaceEstimate): [string, string | null][] {
  const { smearBytes, trimBytes, packBytes, heldBytes, unknown } = space;
  return [
    [
      'smear',
      smearBytes === null ? null : `${formatSize(smearBytes)} beyond what the file system uses${percentOf(smearBytes, space.usedBytes)}`,
    ],
    ['trim would free', trimBytes === null ? (unknown === null ? null : `not known: ${unknown}`) : formatSize(trimBytes)],
    ['packing, beyond', packBytes === null || packBytes === 0 ? null : `${formatSize(packBytes)} at best`],
    [
      'snapshots hold',
      heldBytes === null || heldBytes === 0 ? null : `up to ${formatSize(heldBytes)} that the file system does not use any more`,
    ],
  ];
}

function percentOf(part: number, whole: number | null): string {
  return whole === null || whole === 0 ? '' : ` (${((part / whole) * 100).toFixed(1)} %)`;
}

/** How full the clusters are, in eight bars from nearly empty to full: `▁▁▁▂▁▁▁█`. */
export function fullnessText(fullness: readonly number[]): string {
  const most = Math.max(...fullness, 1);
  return fullness.map((count) => (count === 0 ? '·' : BARS[Math.min(7, Math.floor((count / most) * 8))])).join('');
}

/** Extents of the file per MiB that the host spends on it. */
export function extentsText({ hostExtents, hostBytes }: MeasuredLayer): string {
  return hostExtents === null || hostBytes === 0 ? '-' : (hostExtents / (hostBytes / 2 ** 20)).toFixed(2);
}
