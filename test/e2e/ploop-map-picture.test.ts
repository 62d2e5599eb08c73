// SPDX-License-Identifier: Apache-2.0
// Pictures of a real image: every kind of space is in them, cell by cell as the figures say, and others can read the files.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { Cell } from '../../src/filesystem/space/cells.js';
import { ploop, ploopOk } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { readPng } from '../helpers/png.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;
const COLUMNS = 128;
const PIXELS = 6;
/** docs/guides/space.md */
const COLOURS = { used: '#005ab5', reclaimable: '#e67800', shared: '#009e73', hole: '#ececec' } as const;
const LETTERS = { used: '#', reclaimable: 'r', shared: 's' } as const;

/** Rectangles and texts of an SVG, by a parser that takes nothing but XML. */
const READ_SVG = `
import json, sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == '{http://www.w3.org/2000/svg}svg', root.tag
print(json.dumps([[e.tag.split('}')[1], e.attrib, e.text] for e in root]))`;

type Element = ['rect' | 'text' | 'title', Record<string, string>, string | null];

const scratch = scratchPerTest();

/** 20 MiB that a snapshot has, 10 MiB in use and 5 MiB that were deleted. */
async function mountedImage(): Promise<string> {
  const { image, mountPoint } = scratch;
  await ploopOk('create', image, '--size', '256M');
  await ploopOk('mount', image, mountPoint);
  await writeFile(join(mountPoint, 'below'), Buffer.alloc(20 * MIB, 1));
  await ploopOk('snapshot', image);
  await writeFile(join(mountPoint, 'kept'), Buffer.alloc(10 * MIB, 2));
  await writeFile(join(mountPoint, 'gone'), Buffer.alloc(5 * MIB, 3));
  await run('sync', ['-f', mountPoint]);
  await rm(join(mountPoint, 'gone'));
  await run('sync', ['-f', mountPoint]);
  return image;
}

/** What a cell that is of one kind alone must look like; undefined: a mixture. */
function plainColour(cell: Cell): string | undefined {
  if (cell.used + cell.reclaimable + cell.shared === 0) return COLOURS.hole;
  const only = (['used', 'reclaimable', 'shared'] as const).find((kind) => cell[kind] === 1);
  return only === undefined ? undefined : COLOURS[only];
}

/** The colour of each cell, from the rectangles over the background. */
function svgColours(elements: readonly Element[], count: number): string[] {
  const colours = Array.from({ length: count }, (): string => COLOURS.hole);
  for (const [tag, { x, y, width, height, fill }] of elements) {
    if (tag !== 'rect' || height !== String(PIXELS)) continue;
    const first = (Number(y) / PIXELS) * COLUMNS + Number(x) / PIXELS;
    colours.fill(fill ?? '', first, first + Number(width) / PIXELS);
  }
  return colours;
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'python3'))('ploop map', () => {
  it('--picture draws used, reclaimable, shared and holes cell by cell, the same as PNG and as SVG', async () => {
    const dir = await mountedImage();
    const [svg, png] = [scratch.path('map.svg'), scratch.path('map.png')];
    const outcome = await ploopOk('map', dir, '--picture', svg, '--json');
    expect(differences('ploop map', outcome.json(), 'picture')).toEqual([]);
    const { cells, bytesPerCell } = outcome.json<{ cells: Cell[]; bytesPerCell: number }>();
    const mib = (kind: keyof Cell): number => (cells.reduce((sum, cell) => sum + cell[kind], 0) * bytesPerCell) / MIB;
    expect(mib('shared')).toBeGreaterThan(19.5);
    expect(mib('shared')).toBeLessThan(22);
    expect(mib('used')).toBeGreaterThan(10);
    expect(mib('used')).toBeLessThan(12);
    expect(mib('reclaimable')).toBeGreaterThan(4.9);
    expect(mib('reclaimable')).toBeLessThan(5.5);

    await ploopOk('map', dir, '--picture', png);
    const pixels = readPng(await readFile(png));
    expect([pixels.width, pixels.height]).toEqual([COLUMNS * PIXELS, Math.ceil(cells.length / COLUMNS) * PIXELS]);
    const place = (index: number): [number, number] => [(index % COLUMNS) * PIXELS, Math.floor(index / COLUMNS) * PIXELS];
    const drawn = cells.map((_, index) => pixels.at(...place(index)));
    expect(cells.map((cell, index) => plainColour(cell) ?? drawn[index])).toEqual(drawn);
    // To the last pixel of each cell.
    expect(cells.map((_, index) => pixels.at(place(index)[0] + PIXELS - 1, place(index)[1] + PIXELS - 1))).toEqual(drawn);
    for (const colour of Object.values(COLOURS)) expect(drawn).toContain(colour);
    const mixed = cells.findIndex((cell) => plainColour(cell) === undefined);
    expect(Object.values(COLOURS)).not.toContain(drawn[mixed]);

    const elements = JSON.parse((await run('python3', ['-c', READ_SVG, svg])).stdout) as Element[];
    expect(svgColours(elements, cells.length)).toEqual(drawn);
    const legend = elements.flatMap(([tag, { fill }], at) =>
      tag === 'rect' && elements[at + 1]?.[0] === 'text' ? [[elements[at + 1]?.[2], fill]] : [],
    );
    expect(Object.fromEntries(legend)).toEqual(COLOURS);
    expect(elements.at(-1)?.[2]).toMatch(/^256 MiB, .* a cell$/);
  });

  it('--draw shows what most of each cell is, in letters with a legend', async () => {
    const dir = await mountedImage();
    const drawn = await ploopOk('map', dir, '--draw');
    expect(drawn.stdout).not.toContain('\u001B');
    const lines = drawn.stdout.trimEnd().split('\n');
    expect(lines.pop()).toMatch(/^# used {3}r reclaimable {3}s shared {3}\. hole {3}.* a letter$/);
    const letters = lines.join('');
    const perLetter = 256 / letters.length;
    const mib = (letter: string): number => [...letters].filter((one) => one === letter).length * perLetter;
    expect(new Set(letters)).toEqual(new Set(['.', ...Object.values(LETTERS)]));
    expect(Math.abs(mib(LETTERS.shared) - 20)).toBeLessThan(3);
    expect(Math.abs(mib(LETTERS.used) - 11)).toBeLessThan(3);
    expect(Math.abs(mib(LETTERS.reclaimable) - 5)).toBeLessThan(2);
    expect(await ploop('map', dir, '--picture', 'map.gif')).toMatchObject({ status: 2 });
    const nowhere = await ploop('map', dir, '--picture', `${dir}/no/map.png`);
    expect(nowhere).toMatchObject({ status: 2 });
    expect(nowhere.stderr).toContain('map.png: its directory does not exist');
  });
});
