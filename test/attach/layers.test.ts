// SPDX-License-Identifier: Apache-2.0
// Layers looked at while a deletion merges and removes them.
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { deleteSnapshot } from '../../src/attach/jobs.js';
import { createImage } from '../../src/image/create.js';
import { lookAtLayers } from '../../src/image/layers.js';
import { native } from '../../src/native/index.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const SNAPSHOTS = 40;

let scratch: Scratch;
let dir: string;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = scratch.path('image');
  await createImage(dir, { sizeBytes: 2 ** 20 });
});
afterEach(() => scratch.clean());

describe('looking at layers', () => {
  it('does not miss those that are merged meanwhile, and holds no deletion up', async () => {
    const ids: string[] = [];
    for (let i = 0; i < SNAPSHOTS; i++) ids.push(await native.snapshot(dir, {}));
    const deleted = new AbortController();
    const look = async (): Promise<number> => {
      let looks = 0;
      for (; !deleted.signal.aborted; looks++) expect((await lookAtLayers(dir)).layers.length).toBeGreaterThan(0);
      return looks;
    };
    const looking = Promise.all([look(), look()]);
    for (const id of ids) await deleteSnapshot(dir, id, { runDir: scratch.runDir });
    deleted.abort();
    for (const looks of await looking) expect(looks).toBeGreaterThan(0);
    expect((await lookAtLayers(dir)).layers).toHaveLength(1);
  });

  it('names one that is missing', async () => {
    await native.snapshot(dir, {});
    const [base] = (await lookAtLayers(dir)).layers;
    await rm(`${dir}/layers/${base?.id}.plp`);
    await expect(lookAtLayers(dir)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining(`layer ${base?.id} is missing`) as string,
    });
  });
});
