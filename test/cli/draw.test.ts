// SPDX-License-Identifier: Apache-2.0
// A picture of an image in a terminal, and what is said of one in a file.
import { describe, expect, it } from 'vitest';

import { legendText } from '../../src/cli/draw/colours.js';
import { terminalPicture } from '../../src/cli/draw/terminal.js';
import type { CellMap } from '../../src/filesystem/space/cells.js';

const cell = (used: number, reclaimable: number, shared: number): CellMap['cells'][number] => ({ used, reclaimable, shared });
const USED = cell(1, 0, 0);
const FREE = cell(0, 1, 0);
const HOLE = cell(0, 0, 0);
const map: CellMap = { cells: [USED, USED, HOLE, USED, FREE, FREE], bytesPerCell: 4096, sizeBytes: 6 * 4096, unknown: null };

describe('an image in letters', () => {
  it('has lines as wide as asked for, and no colour unless asked for', () => {
    expect(terminalPicture(map, { columns: 4, colour: false }).split('\n').slice(0, 2)).toEqual(['##.#', 'rr']);
  });

  it('changes the colour where the letter changes, not at each letter', () => {
    const blue = (text: string): string => `\u001B[34m${text}\u001B[0m`;
    expect(terminalPicture(map, { columns: 4, colour: true }).split('\n').slice(0, 2)).toEqual([
      `${blue('##')}.${blue('#')}`,
      '\u001B[33mrr\u001B[0m',
    ]);
  });
});

it('a picture without words is explained in words', () => {
  expect(legendText(map)).toBe('blue used, orange reclaimable, green shared, grey hole; 4 KiB a cell');
  expect(legendText({ ...map, unknown: 'no file system' })).toContain('; what is reclaimable is not known: no file system');
});
