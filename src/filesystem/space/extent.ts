// SPDX-License-Identifier: Apache-2.0
// Ranges of the disk, and how the small programs read them.

/** First byte, and the first one after it. */
export type Extent = readonly [number, number];

/** Lines "offset length", and an empty one. */
export function rangeLines(ranges: readonly Extent[]): string {
  return `${ranges.map(([from, to]) => `${from} ${to - from}\n`).join('')}\n`;
}

/** Adds a range to those in order of place; one that follows the last makes that longer. */
export function addRange(ranges: [number, number][], from: number, to: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] === from) last[1] = to;
  else ranges.push([from, to]);
}
