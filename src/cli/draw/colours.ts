// SPDX-License-Identifier: Apache-2.0
// The colours of a picture of an image: told apart also by those who do not see red and green apart.
import type { Cell, CellMap } from '../../filesystem/space/cells.js';
import { formatSize } from '../../units.js';

export type Rgb = readonly [number, number, number];

export const KINDS = [
  { name: 'used', letter: '#', colour: 'blue', rgb: [0, 90, 181], ansi: 34 },
  { name: 'reclaimable', letter: 'r', colour: 'orange', rgb: [230, 120, 0], ansi: 33 },
  { name: 'shared', letter: 's', colour: 'green', rgb: [0, 158, 115], ansi: 32 },
] as const;

export const HOLE: Rgb = [236, 236, 236];

/** The kinds mixed in proportion; whatever is there at all is seen. */
export function colourOf(cell: Cell): Rgb {
  const sum = cell.used + cell.reclaimable + cell.shared;
  if (sum === 0) return HOLE;
  const cover = 0.35 + 0.65 * Math.min(1, sum);
  const channel = (at: 0 | 1 | 2): number => {
    const mixed = KINDS.reduce((total, { name, rgb }) => total + rgb[at] * (cell[name] / sum), 0);
    return Math.round(mixed * cover + HOLE[at] * (1 - cover));
  };
  return [channel(0), channel(1), channel(2)];
}

/** What most of the cell's data is; undefined for a hole. */
export function kindOf(cell: Cell): (typeof KINDS)[number] | undefined {
  const [most] = KINDS.toSorted((a, b) => cell[b.name] - cell[a.name]);
  return most !== undefined && cell[most.name] > 0 ? most : undefined;
}

/** For pictures that have no place for words. */
export function legendText({ bytesPerCell, unknown }: CellMap): string {
  const kinds = KINDS.map(({ name, colour }) => `${colour} ${name}`).join(', ');
  return `${kinds}, grey hole; ${formatSize(bytesPerCell)} a cell${unknown === null ? '' : `; what is reclaimable is not known: ${unknown}`}`;
}
