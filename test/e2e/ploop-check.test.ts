// SPDX-License-Identifier: Apache-2.0
// `ploop check` on real files: what it says of damage, what a repair does and leaves, and the exit statuses.
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { NativeCheckResult } from '../../src/native/index.js';
import { nativeFile } from '../../src/native/binding.js';
import { ploop, type CommandOutcome } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

interface Check extends NativeCheckResult {
  clean: boolean;
  repaired: boolean;
  checksumsAdded: number | null;
}

let scratch: Scratch;
let dir: string;
let base: string;

beforeEach(async () => {
  scratch = await makeScratch();
  const source = scratch.path('source');
  await promisify(execFile)('mkdir', [source]);
  await promisify(execFile)('cp', ['-r', 'docs', source]);
  dir = scratch.path('image');
  expect(await ploop('create', dir, '--size', '128M', '--checksums', '--from', source)).toMatchObject({ status: 0 });
  expect(await ploop('snapshot', dir, '--name', 'one')).toMatchObject({ status: 0 });
  base = (await ploop('info', dir, '--json')).json<{ layers: [{ id: string }] }>().layers[0].id;
});
afterEach(() => scratch.clean());

async function damage(name: string): Promise<void> {
  await promisify(execFile)(nativeFile('damage'), [dir, name, base]);
}

async function check(...options: string[]): Promise<Check & { status: CommandOutcome['status'] }> {
  const outcome = await ploop('check', dir, '--json', ...options);
  expect(differences('ploop check', outcome.json())).toEqual([]);
  return { ...outcome.json<Check>(), status: outcome.status };
}

describe('ploop check', () => {
  it('verifies the data of a snapshot by its block checksums', async () => {
    const fine = await check('--data');
    expect(fine).toMatchObject({ status: 0, clean: true, layersWithChecksums: 1, blocksNotCovered: 0 });
    expect(fine.blocksVerified).toBeGreaterThan(10);
    await damage('data-bitflip');
    expect(await check()).toMatchObject({ status: 0, clean: true, blocksVerified: 0 });
    expect(await check('--data')).toMatchObject({ status: 28, findings: [{ kind: 'data', layer: base }] });
    // Nothing can bring the block back.
    expect(await check('--repair')).toMatchObject({ status: 28, left: 1, report: null });
  });

  it('tells exit status 29 after a repair that loses nothing', async () => {
    await damage('header-b');
    expect(await check('--repair')).toMatchObject({ status: 29, repaired: true, fixed: 1, salvaged: 0, left: 0, report: null });
    expect(await check()).toMatchObject({ status: 0, clean: true });
  });

  it('keeps the damaged layer and a report before it gives something up', async () => {
    await damage('map-page-crc');
    const before = await readFile(`${dir}/layers/${base}.plp`);
    const repaired = await check('--repair');
    expect(repaired).toMatchObject({ status: 29, salvaged: 1, findings: [{ kind: 'map-page', outcome: 'salvaged' }] });
    const folder = `${dir}/${repaired.report ?? ''}`;
    expect((await readFile(`${folder}/${base}.plp`)).equals(before)).toBe(true);
    const { blocks, size } = await stat(`${folder}/${base}.plp`);
    expect(blocks * 512).toBeLessThan(size);
    expect(JSON.parse(await readFile(`${folder}/report.json`, 'utf8'))).toMatchObject({
      format: 'ploop-repair',
      finished: true,
      findings: [{ kind: 'map-page', layer: base, done: 'salvaged' }],
      kept: [{ layer: base, file: `${base}.plp` }],
    });
    expect(await check('--data')).toMatchObject({ status: 0, clean: true });
  });

  it('adds the checksums that a repair had to drop, but not to a damaged image', async () => {
    await damage('checksum-page');
    const refused = await ploop('check', dir, '--add-checksums');
    expect(refused).toMatchObject({ status: 28 });
    expect(refused.stderr).toMatch(/no checksums were added/);
    expect(await check('--repair')).toMatchObject({ status: 29, fixed: 1 });
    expect(await check('--data')).toMatchObject({ status: 0, layersWithChecksums: 0, blocksVerified: 0 });
    expect(await check('--add-checksums')).toMatchObject({ status: 0, checksumsAdded: 1 });
    expect(await check('--data')).toMatchObject({ status: 0, layersWithChecksums: 1, blocksNotCovered: 0 });
  });

  it('says in words what is wrong, where, and what it means', async () => {
    await damage('missing-layer');
    const told = await ploop('check', dir, '--repair');
    expect(told.status).toBe(28);
    expect(told.stdout).toMatch(/CORRUPT: layer [0-9a-f]{8} at byte 0: the layer's file is missing \(left\)\n {2}The layer's data is gone/);
  });
});
