// SPDX-License-Identifier: Apache-2.0
// A picture of an image in letters, for a terminal.
import type { CellMap } from '../../filesystem/space/cells.js';
import { formatSize } from '../../units.js';
import { KINDS, kindOf } from './colours.js';

export function terminalPicture(
  { cells, bytesPerCell, unknown }: CellMap,
  { columns, colour }: { columns: number; colour: boolean },
): string {
  const paint = (text: string, ansi: number): string => (colour ? `\u001B[${ansi}m${text}\u001B[0m` : text);
  const lines: string[] = [];
  for (let at = 0; at < cells.length; at += columns) {
    const letters = cells.slice(at, at + columns).map((cell) => kindOf(cell)?.letter ?? '.');
    // A run of letters at a time: a colour for each would be nine times as much to send.
    lines.push(
      letters.join('').replaceAll(/([^.])\1*/g, (run, letter) => paint(run, KINDS.find((kind) => kind.letter === letter)?.ansi ?? 0)),
    );
  }
  const legend = [
    ...KINDS.map(({ name, letter, ansi }) => `${paint(letter, ansi)} ${name}`),
    '. hole',
    `${formatSize(bytesPerCell)} a letter`,
  ];
  return [...lines, legend.join('   '), ...(unknown === null ? [] : [`what is reclaimable is not known: ${unknown}`])].join('\n');
}
