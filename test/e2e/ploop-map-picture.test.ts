// SPDX-License-Identifier: Apache-2.0
// Pictures of a real image: every kind of space is in them, and the files are what their names say.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32, inflateSync } from 'node:zlib';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { Cell } from '../../src/filesystem/space/cells.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop map --picture', () => {
  it('tells used, reclaimable, shared and holes apart', async () => {
    const { image: dir, mountPoint } = scratch;
    await ploop('create', dir, '--size', '256M');
    await ploop('mount', dir, mountPoint);
    await writeFile(join(mountPoint, 'below'), Buffer.alloc(20 * MIB, 1));
    await ploop('snapshot', dir);
    await writeFile(join(mountPoint, 'kept'), Buffer.alloc(10 * MIB, 2));
    await writeFile(join(mountPoint, 'gone'), Buffer.alloc(5 * MIB, 3));
    await run('sync', ['-f', mountPoint]);
    await rm(join(mountPoint, 'gone'));
    await run('sync', ['-f', mountPoint]);

    const svg = scratch.path('map.svg');
    const outcome = await ploop('map', dir, '--picture', svg, '--json');
    expect(differences('ploop map', outcome.json(), 'picture')).toEqual([]);
    const { cells, bytesPerCell } = outcome.json<{ cells: Cell[]; bytesPerCell: number }>();
    const mib = (kind: keyof Cell): number => (cells.reduce((sum, cell) => sum + cell[kind], 0) * bytesPerCell) / MIB;
    expect(mib('shared')).toBeGreaterThan(19.5);
    expect(mib('shared')).toBeLessThan(22);
    expect(mib('used')).toBeGreaterThan(10);
    expect(mib('used')).toBeLessThan(12);
    expect(mib('reclaimable')).toBeGreaterThan(4.9);
    expect(mib('reclaimable')).toBeLessThan(5.5);
    const text = await readFile(svg, 'utf8');
    expect(text).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    expect(text).toContain('#e67800');

    const png = scratch.path('map.png');
    expect(await ploop('map', dir, '--picture', png)).toMatchObject({ status: 0 });
    const data = await readFile(png);
    expect(data.subarray(1, 4).toString()).toBe('PNG');
    const [width, height] = [data.readUInt32BE(16), data.readUInt32BE(20)];
    const length = data.readUInt32BE(33);
    expect(data.readUInt32BE(41 + length)).toBe(crc32(data.subarray(37, 41 + length)));
    expect(inflateSync(data.subarray(41, 41 + length))).toHaveLength(height * (1 + width * 3));

    const drawn = await ploop('map', dir, '--draw');
    for (const letter of ['#', 'r', 's', '.']) expect(drawn.stdout.split('\n').slice(0, -2).join('')).toContain(letter);
    expect(drawn.stdout).not.toContain('\u001B');
    expect(await ploop('map', dir, '--picture', 'map.gif')).toMatchObject({ status: 2 });
  });
});
