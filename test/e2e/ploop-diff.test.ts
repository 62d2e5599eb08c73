// SPDX-License-Identifier: Apache-2.0
// `ploop diff` against a comparison of what two states hold: attached and not, before and after the image was written.
import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { changedBlocks } from '../../src/attach/diff.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;
const BLOCK = 4096;
const SIZE = 32 * MIB;

interface Diff {
  from: string;
  to: string | null;
  sizeBytes: number;
  changedBytes: number;
  dataBytes: number;
  zeroBytes: number;
  extents: { offset: number; length: number; zero: boolean }[];
}

let dir: string;
scratchPerTest((places) => void ({ image: dir } = places));

async function diff(...options: string[]): Promise<Diff> {
  const outcome = await ploop('diff', dir, ...options, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  expect(differences('ploop diff', outcome.json())).toEqual([]);
  return outcome.json<Diff>();
}

function blocksOf(found: { extents: Diff['extents'] }): number[] {
  return found.extents.flatMap((one) => Array.from({ length: one.length / BLOCK }, (_, i) => one.offset / BLOCK + i));
}

async function content(snapshot?: string): Promise<Buffer> {
  await using reader = await native.openReader(dir, snapshot === undefined ? {} : { snapshot });
  return reader.read(0, SIZE);
}

function differing(a: Buffer, b: Buffer): number[] {
  const blocks = Array.from({ length: SIZE / BLOCK }, (_, i) => i);
  return blocks.filter((i) => a.compare(b, i * BLOCK, (i + 1) * BLOCK, i * BLOCK, (i + 1) * BLOCK) !== 0);
}

let written = 0;

/** Scattered blocks, each with content that was never there before. */
async function scatter(device: string, count: number): Promise<void> {
  const file = await open(device, 'r+');
  try {
    for (let i = 0; i < count; i++) {
      const block = Buffer.alloc(BLOCK, `${++written} `);
      await file.write(block, 0, BLOCK, ((written * 7919) % (SIZE / BLOCK)) * BLOCK);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('ploop diff', () => {
  it('names exactly the blocks that differ, for every pair of states, attached and not', async () => {
    await ploop('create', dir, '--size', '32M', '--fs', 'none');
    const { device } = (await ploop('attach', dir, '--json')).json<{ device: string }>();
    const states = ['one', 'two', 'three'];
    for (const name of states) {
      await scatter(device, 600);
      expect(await ploop('snapshot', dir, '--name', name)).toMatchObject({ status: 0 });
    }
    await scatter(device, 100);
    const live = new Map<string, Extents>();
    for (const from of states) for (const to of [...states, null]) live.set(`${from} ${to}`, await pair(from, to));
    expect(await ploop('detach', dir)).toMatchObject({ status: 0 });

    for (const from of states) {
      for (const to of [...states, null]) {
        const expected = differing(await content(from), await content(to ?? undefined));
        const detached = await pair(from, to);
        expect(blocksOf(detached)).toEqual(expected);
        expect(live.get(`${from} ${to}`)).toEqual(detached);
        expect(detached.sizeBytes).toBe(SIZE);
      }
    }
  });

  it('names rewritten blocks, and leaves them out when it compares', async () => {
    await ploop('create', dir, '--size', '32M', '--fs', 'none');
    const { device } = (await ploop('attach', dir, '--json')).json<{ device: string }>();
    const file = await open(device, 'r+');
    await file.write(Buffer.alloc(4 * BLOCK, 'a'), 0, 4 * BLOCK, MIB);
    await file.sync();
    await ploop('snapshot', dir, '--name', 'before');
    await file.write(Buffer.alloc(2 * BLOCK, 'a'), 0, 2 * BLOCK, MIB);
    await file.write(Buffer.alloc(BLOCK, 'b'), 0, BLOCK, MIB + 3 * BLOCK);
    await file.sync();
    await file.close();
    expect(blocksOf(await pair('before', null))).toEqual([256, 257, 259]);
    expect((await diff('--from', 'before', '--compare')).extents).toEqual([{ offset: MIB + 3 * BLOCK, length: BLOCK, zero: false }]);
    await ploop('detach', dir);
    expect((await diff('--from', 'before', '--compare')).extents).toEqual([{ offset: MIB + 3 * BLOCK, length: BLOCK, zero: false }]);
    const listed = await ploop('diff', dir, '--from', 'before', '--extents');
    expect(listed.stdout).toMatch(/OFFSET +LENGTH +KIND\n +1048576 +8192 +data\n +1060864 +4096 +data\n$/);
    expect(await diff('--from', 'before')).toMatchObject({ changedBytes: 3 * BLOCK, dataBytes: 3 * BLOCK, zeroBytes: 0 });
    expect((await ploop('diff', dir, '--from', 'before')).stdout).toMatch(/changed +12 KiB of 32 MiB/);
  });

  it('names a snapshot that is not there', async () => {
    await ploop('create', dir, '--size', '32M', '--fs', 'none');
    const outcome = await ploop('diff', dir, '--from', 'nowhere');
    expect(outcome).toMatchObject({ status: 8 });
    expect(outcome.stderr).toContain('nowhere');
  });

  it('stops when it is told to', async () => {
    await ploop('create', dir, '--size', '32M', '--fs', 'none');
    await ploop('snapshot', dir, '--name', 'one');
    const aborted = AbortSignal.abort();
    await expect(changedBlocks(dir, { from: 'one', signal: aborted })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

type Extents = { extents: Diff['extents']; sizeBytes: number };

async function pair(from: string, to: string | null): Promise<Extents> {
  const found = await changedBlocks(dir, { from, ...(to === null ? {} : { to }) });
  const extents = [];
  for await (const extent of found.extents) extents.push(extent);
  return { sizeBytes: found.sizeBytes, extents };
}
