// SPDX-License-Identifier: Apache-2.0
// ploop compact below a snapshot: a layer whose own snapshot was deleted, and that two branches need, gives back what neither of
// them sees. Beside a mounted file system that is written to, with a snapshot of it mounted, and after a clone.
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { CompactStep } from '../../src/filesystem/image/compact-step.js';
import { ploop, ploopOk } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { hostBytes, writeAt } from './device.js';
import { branchOff } from './waste.js';

const MIB = 2 ** 20;

let dir: string;
let mountPoint: string;
const scratch = scratchPerTest((places) => void ({ image: dir, mountPoint } = places));

/** Over the same blocks of the file. */
const overwrite = (name: string, byte: number, from: number, length: number): Promise<void> =>
  writeAt(join(mountPoint, name), from, Buffer.alloc(length, byte));

async function below(): Promise<CompactStep | undefined> {
  const outcome = await ploopOk('compact', dir, '--no-relocate', '--json');
  const step = outcome.json<{ steps: CompactStep[] }>().steps.find((one) => one.step === 'below');
  if (step?.skipped === null) expect(differences('ploop compact', step, 'below')).toEqual([]);
  return step;
}

const sum = async (...path: string[]): Promise<string> =>
  createHash('sha256')
    .update(await readFile(join(...path)))
    .digest('hex');

/** On a layer with 16 MiB of `data`: the snapshot `branch`, which has other first 8 MiB, and the disk, mounted. */
async function branches(...options: string[]): Promise<void> {
  await ploopOk('create', dir, '--size', '128M', ...options);
  await ploopOk('mount', dir, mountPoint);
  await writeFile(join(mountPoint, 'data'), Buffer.alloc(16 * MIB, 1));
  await branchOff(scratch, () => overwrite('data', 2, 0, 8 * MIB));
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compact below a snapshot', () => {
  it('gives back what all branches have overwritten, and nothing that one of them shows', async () => {
    await branches('--checksums');
    expect(await below()).toMatchObject({ layers: 1, inUse: 0 });
    await overwrite('data', 3, 4 * MIB, 8 * MIB);
    const [before, content] = [await hostBytes(dir), await sum(mountPoint, 'data')];
    // Seen by neither: MiB 4 to 7.
    const step = await below();
    expect(step?.punchedBytes).toBeGreaterThanOrEqual(4 * MIB);
    expect(await hostBytes(dir)).toBeLessThanOrEqual(before - 4 * MIB + MIB);
    await run('sync', ['-f', mountPoint]);
    expect(await sum(mountPoint, 'data')).toBe(content);
    await ploopOk('umount', dir);
    expect(await ploop('check', dir, '--data')).toMatchObject({ status: 0 });
    await ploopOk('mount', dir, mountPoint);
    expect(await sum(mountPoint, 'data')).toBe(content);
  });

  it('leaves a layer alone that a mounted snapshot reads, until that is gone', async () => {
    await branches();
    const view = scratch.path('view');
    await mkdir(view);
    await ploopOk('mount', dir, view, '--snapshot', 'branch');
    const content = await sum(view, 'data');
    await overwrite('data', 3, 0, 8 * MIB);
    expect(await below()).toMatchObject({ inUse: 1, punchedBytes: 0 });
    await ploopOk('umount', view);
    expect((await below())?.punchedBytes).toBeGreaterThanOrEqual(8 * MIB);
    await ploopOk('mount', dir, view, '--snapshot', 'branch');
    expect(await sum(view, 'data')).toBe(content);
    await ploopOk('umount', view);
  });

  it('leaves a layer alone that a clone shares', async () => {
    await branches();
    const clone = scratch.path('clone');
    await ploopOk('clone', dir, clone, '--snapshot', 'branch');
    await overwrite('data', 3, 0, 8 * MIB);
    expect(await below()).toMatchObject({ inUse: 1, punchedBytes: 0 });
    await ploopOk('check', clone);
  });
});
