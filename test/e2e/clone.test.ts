// SPDX-License-Identifier: Apache-2.0
// Clones: images that share layer files. What each shows is its own, whatever happens to the other.
import { cp, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { run } from '../../src/exec/run.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, hostBytes } from './device.js';

const MIB = 2 ** 20;

let scratch: Scratch;
let origin: string;
let copy: string;

beforeEach(async () => {
  scratch = await makeScratch();
  [origin, copy] = [scratch.path('origin'), scratch.path('clone')];
});
afterEach(() => scratch.clean());

async function fill(dir: string, byte: string, offset: number): Promise<void> {
  const at = await attach(scratch, dir);
  await run('dd', [`of=${at.device}`, 'bs=1M', `seek=${offset}`, 'count=4', 'oflag=direct', 'iflag=fullblock'], {
    input: Buffer.alloc(4 * MIB, byte),
  });
  await at.detach();
}

async function shown(dir: string, offset: number): Promise<string> {
  await using reader = await native.openReader(dir);
  const data = await reader.read(offset * MIB, 4 * MIB);
  return data.equals(Buffer.alloc(4 * MIB, data[0])) ? String.fromCodePoint(data[0] ?? 0) : 'mixed';
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('ploop clone', () => {
  beforeEach(async () => {
    await ploop('create', origin, '--size', '64M', '--fs', 'none');
    await fill(origin, 'a', 0);
    await ploop('snapshot', origin, '--name', 'one');
  });

  it('takes no space, and each image goes on by itself', async () => {
    await ploop('set', origin, '--discard', 'cluster');
    const before = await hostBytes(origin);
    const made = await ploop('clone', origin, copy, '--snapshot', 'one', '--json');
    expect(differences('ploop clone', made.json())).toEqual([]);
    const { layers, discard } = await native.info(copy);
    expect(discard).toBe('cluster');
    const top = await stat(join(copy, 'layers', `${layers.at(-1)?.id}.plp`));
    expect(top.blocks * 512).toBeLessThanOrEqual(64 * 1024);
    await fill(copy, 'c', 0);
    await fill(origin, 'o', 8);
    expect([await shown(copy, 0), await shown(copy, 8), await shown(origin, 0), await shown(origin, 8)]).toEqual(['c', '\0', 'a', 'o']);
    expect(await hostBytes(origin)).toBeLessThan(before + 5 * MIB);
  });

  it('outlives its origin, and lets merges wait until nobody shares the layer (FMT-086)', async () => {
    await ploop('clone', origin, copy, '--snapshot', 'one');
    await fill(copy, 'c', 8);
    const deleted = await ploop('snapshot-delete', origin, 'one', '--json');
    expect(deleted.json()).toMatchObject({ snapshot: { kept: true } });
    expect((await native.info(origin)).layers).toHaveLength(2);
    await rm(origin, { recursive: true });
    expect([await shown(copy, 0), await shown(copy, 8)]).toEqual(['a', 'c']);
    expect(await native.check(copy)).toMatchObject({ findings: [] });
  });

  it('begins with the present state of an image in use', async () => {
    const at = await attach(scratch, origin);
    expect((await ploop('clone', origin, copy)).status).toBe(0);
    expect(await shown(copy, 0)).toBe('a');
    // Nor when it fails.
    expect((await ploop('clone', origin, copy)).status).toBe(6);
    expect((await listSnapshots(origin)).map(({ name }) => name)).toEqual(['one']);
    await at.detach();
  });

  it('says what to do where files cannot be shared', async () => {
    await mkdir(scratch.path('other'));
    await run('mount', ['-t', 'tmpfs', 'tmpfs', scratch.path('other')]);
    try {
      const there = join(scratch.path('other'), 'clone');
      const refused = await ploop('clone', origin, there, '--snapshot', 'one');
      expect(refused.stderr).toMatch(/two file systems[\s\S]*--copy/);
      await expect(stat(there)).rejects.toMatchObject({ code: 'ENOENT' });
      expect((await ploop('clone', origin, there, '--snapshot', 'one', '--copy')).status).toBe(0);
      expect(await shown(there, 0)).toBe('a');
    } finally {
      await run('umount', [scratch.path('other')]);
    }
  });

  it('lets a copy made file by file have an id of its own', async () => {
    await cp(origin, copy, { recursive: true });
    const given = await ploop('new-id', copy, '--json');
    expect(differences('ploop new-id', given.json())).toEqual([]);
    expect((await native.info(copy)).id).not.toBe((await native.info(origin)).id);
    const both = [await attach(scratch, origin), await attach(scratch, copy)];
    for (const one of both) await one.detach();
  });
});
