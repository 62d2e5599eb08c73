// SPDX-License-Identifier: Apache-2.0
// What ploop stat and info say an image costs and could give back, against what then comes back.
import { readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { SpaceEstimate } from '../../src/filesystem/space/measure.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { hostBytes as hostBytesOf } from './device.js';
import { writeAndDelete } from './waste.js';

const MIB = 2 ** 20;

let dir: string;
let mountPoint: string;
scratchPerTest((places) => void ({ image: dir, mountPoint } = places));

/** Files of 60 KiB, every second of which is deleted again. */
async function fileAndDelete(): Promise<void> {
  await writeAndDelete(mountPoint, { files: 200, bytes: () => 60 * 1024, stays: (at) => at % 2 === 0 });
  await run('sync', ['-f', mountPoint]);
}

async function stat(): Promise<SpaceEstimate> {
  const outcome = await ploop('stat', dir, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  expect(differences('ploop stat', outcome.json())).toEqual([]);
  return outcome.json<{ space: SpaceEstimate }>().space;
}

interface Layers {
  layers: { clusters: number; dataBytes: number; fullness: number[]; hostExtents: number | null }[];
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'xfs'))('ploop stat', () => {
  it.each(['ext4', 'xfs'])('says of a mounted %s what trimming will give back', async (fs) => {
    await ploop('create', dir, '--size', '512M', '--fs', fs);
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const before = await stat();
    expect(before.unknown).toBeNull();
    expect(before.trimBytes).toBeGreaterThan(5 * MIB);
    await ploop('compact', dir);
    const after = await stat();
    expect(after.trimBytes).toBeLessThan(256 * 1024);
    const freed = before.hostBytes - after.hostBytes;
    // ext4 gives its journal back on top of it.
    expect(freed).toBeGreaterThan(0.95 * (before.trimBytes ?? Infinity));
    expect(freed).toBeLessThan((before.trimBytes ?? 0) + MIB);
  });

  it('says the same of an ext4 that is not mounted, from its bitmaps', async () => {
    await ploop('create', dir, '--size', '2G');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const mounted = await stat();
    await ploop('umount', dir);
    const detached = await stat();
    await ploop('attach', dir);
    const attached = await stat();
    for (const one of [detached, attached]) {
      expect(one.unknown).toBeNull();
      expect(Math.abs((one.trimBytes ?? 0) - (mounted.trimBytes ?? 0))).toBeLessThan(64 * 1024);
    }
  });

  it('says what the host spends and the file system uses as the host and the kernel do, and the rest is smear', async () => {
    await ploop('create', dir, '--size', '512M');
    await ploop('mount', dir, mountPoint);
    await fileAndDelete();
    const { hostBytes, usedBytes, smearBytes } = await stat();
    const { blocks, bfree, bsize } = await statfs(mountPoint);
    expect(Math.abs((usedBytes ?? 0) - (blocks - bfree) * bsize)).toBeLessThan(64 * 1024);
    expect(Math.abs(hostBytes - (await hostBytesOf(dir)))).toBeLessThan(MIB);
    expect(smearBytes).toBe(hostBytes - (usedBytes ?? 0));
    expect(smearBytes).toBeGreaterThan(5 * MIB);
  });

  it('counts clusters by how full they are, and the pieces of each file on the host', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    const { device } = (await ploop('attach', dir, '--json')).json<{ device: string }>();
    // Clusters with all of their 64 blocks, twice; with 32, three times; with one.
    for (const [cluster, blocks] of [64, 64, 32, 32, 32, 1].entries())
      await run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=4k', `count=${blocks}`, `seek=${cluster * 64}`, 'conv=fsync', 'status=none']);
    const figures = (await ploop('stat', dir, '--json')).json<Layers>();
    expect(figures.layers).toMatchObject([{ clusters: 6, dataBytes: (2 * 64 + 3 * 32 + 1) * 4096, fullness: [1, 0, 0, 3, 0, 0, 0, 2] }]);
    const [layer] = await readdir(join(dir, 'layers'));
    const found = (await run('filefrag', [join(dir, 'layers', layer ?? '')])).stdout;
    expect(found).toContain(`: ${figures.layers[0]?.hostExtents} extent`);
  });

  it('tells what snapshots hold apart from what trimming gives back', async () => {
    await ploop('create', dir, '--size', '512M');
    await ploop('mount', dir, mountPoint);
    await writeFile(join(mountPoint, 'old'), Buffer.alloc(20 * MIB, 'o'));
    await ploop('snapshot', dir);
    await rm(join(mountPoint, 'old'));
    await run('sync', ['-f', mountPoint]);
    const { heldBytes, trimBytes, sharedBytes } = await stat();
    expect(heldBytes).toBeGreaterThanOrEqual(20 * MIB);
    expect(sharedBytes).toBeGreaterThanOrEqual(20 * MIB);
    expect(trimBytes).toBeLessThan(MIB);
  });

  it('says why it does not know, and still tells the rest', async () => {
    await ploop('create', dir, '--size', '512M', '--fs', 'xfs');
    const { unknown, trimBytes, hostBytes } = await stat();
    expect(unknown).toContain('only while it is mounted');
    expect(trimBytes).toBeNull();
    expect(hostBytes).toBeGreaterThan(0);
    const info = await ploop('info', dir);
    expect(info.stdout).toContain('trim would free  not known: ');
  });
});
