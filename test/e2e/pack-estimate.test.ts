// SPDX-License-Identifier: Apache-2.0
// What `ploop stat` says that packing would free, against what the host gets back by it: at least that, and not much more.
import { mkdir } from 'node:fs/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { CompactedImage } from '../../src/filesystem/image/compact.js';
import type { SpaceEstimate } from '../../src/filesystem/space/measure.js';
import { ploop } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { ageFileSystem } from './aging.js';

const MIB = 2 ** 20;

let scratch: Scratch;
let dir: string;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = scratch.path('image');
});
afterEach(() => scratch.clean());

async function stat(): Promise<SpaceEstimate> {
  const outcome = await ploop('stat', dir, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  return outcome.json<{ space: SpaceEstimate }>().space;
}

/** What the host gets back by packing. */
async function pack(): Promise<number> {
  const { steps } = (await ploop('compact', dir, '--no-relocate', '--json')).json<CompactedImage>();
  const step = steps.find((one) => one.step === 'pack');
  expect(step).toMatchObject({ skipped: null, stopped: 'done' });
  return (step?.hostBytesBefore ?? 0) - (step?.hostBytesAfter ?? 0);
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('what packing would free', () => {
  it.each([
    { blockSize: '64K', discard: 'block' },
    { blockSize: '64K', discard: 'cluster' },
    { blockSize: '4K', discard: 'cluster' },
  ])('is what it frees, of blocks of $blockSize with --discard $discard', async ({ blockSize, discard }) => {
    const mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await ploop('create', dir, '--size', '256M', '--block-size', blockSize);
    await ploop('set', dir, '--discard', discard);
    await ploop('mount', dir, mountPoint);
    const fresh = await stat();
    await ageFileSystem(mountPoint, { seed: 3, generations: 2, fullPercent: 70, finalPercent: 40 });
    await ploop('compact', dir, '--no-pack');

    const { packBytes } = await stat();
    const freedBytes = await pack();
    const after = await stat();

    process.stderr.write(`${blockSize} ${discard}: ${packBytes} estimated, ${freedBytes} freed, ${after.packBytes} left\n`);
    expect(fresh.packBytes).toBeLessThan(MIB / 4);
    expect(freedBytes).toBeGreaterThan(5 * MIB);
    expect(packBytes).toBeGreaterThanOrEqual(freedBytes);
    expect(packBytes).toBeLessThan(1.25 * freedBytes);
    expect(after.packBytes).toBeLessThan(0.2 * (packBytes ?? 0));
  });

  it('is nothing where every block goes back by itself, or none', async () => {
    const mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await ploop('create', dir, '--size', '128M');
    await ploop('mount', dir, mountPoint);
    await ageFileSystem(mountPoint, { seed: 3, generations: 1, fullPercent: 60, finalPercent: 40 });
    expect((await stat()).packBytes).toBe(0);
    await ploop('set', dir, '--discard', 'off');
    expect((await stat()).packBytes).toBe(0);
  });
});
