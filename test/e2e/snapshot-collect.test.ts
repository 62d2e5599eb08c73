// SPDX-License-Identifier: Apache-2.0
// Temporary snapshots that commands delete by the way: nobody waits for it or fails by it, and it is told.
import { describe, expect, it } from 'vitest';

import { listJobs, waitJob } from '../../src/attach/jobs.js';
import { run } from '../../src/exec/run.js';
import { collectTemporary } from '../../src/filesystem/image/collect.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { createImage } from './device.js';
import { holderPerTest } from './holder.js';

describe.skipIf(lacks('root', 'fuse', 'loop'))('deleting temporary snapshots by the way', () => {
  let dir: string;
  const scratch = scratchPerTest(async (places) => {
    dir = await createImage(places, 'image', 64 * 2 ** 20);
  });
  const holder = holderPerTest();

  const names = async (): Promise<(string | null)[]> => (await listSnapshots(dir)).map((one) => one.name);
  const layers = async (): Promise<number> => (await native.info(dir, { lock: false })).layers.length;
  const attach = async (): Promise<string> => (await ploop('attach', dir)).stdout.trim();
  const take = async (): Promise<string> =>
    (await ploop('snapshot', dir, '--temporary', '--holder', holder.pid, '--name', 'held')).stdout.trim();
  /** 8 MiB, 4 MiB of them where the last ones were. */
  const write = (device: string, turn: number): Promise<unknown> =>
    run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=4M', 'count=2', `seek=${turn}`, 'conv=fsync', 'status=none']);
  /** The image is detached, and has the snapshot with a layer that takes work to merge. */
  async function withGone(): Promise<string> {
    const device = await attach();
    await write(device, 0);
    const id = await take();
    await write(device, 1);
    await ploop('detach', dir);
    await holder.end();
    return id;
  }

  it.each(['attach', 'compact'])(
    'merges nothing while a command waits: in a detached image that is left to the next %s',
    async (merged) => {
      const device = await attach();
      await write(device, 0);
      const id = await take();
      await write(device, 1);
      await ploop('detach', dir);
      await ploop('attach', dir, '--snapshot', 'held');
      await holder.end();
      expect((await ploop('detach', dir, '--snapshot', 'held')).stderr).toMatch(/held.* is deleted; its layer is merged when the image/);
      expect(await names()).toEqual([]);
      expect(await layers()).toBe(2);
      expect(await ploop(merged, dir)).toMatchObject({ status: 0 });
      if (merged === 'attach') await waitJob(dir, id, { runDir: scratch.runDir });
      expect(await layers()).toBe(1);
    },
  );

  it('says how far it is where somebody waits for it', async () => {
    await withGone();
    const seen: number[] = [];
    const options = { runDir: scratch.runDir, merge: true, onProgress: (done: number) => seen.push(done) };
    expect(await collectTemporary(dir, options)).toHaveLength(1);
    expect(seen.length).toBeGreaterThan(0);
    expect(await layers()).toBe(1);
  });

  it('goes on with a command when it can not be done, and says so', async () => {
    await withGone();
    const reader = await native.openReader(dir);
    const notes: string[] = [];
    const onNote = (text: string): unknown => notes.push(text);
    expect(await collectTemporary(dir, { runDir: scratch.runDir, onNote })).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/held.* stays for now: .*in use/)]);
    await reader.close();
    expect(await collectTemporary(scratch.path('none'), { runDir: scratch.runDir, onNote })).toEqual([]);
    expect(notes[1]).toMatch(/it can not be seen which/);
  });

  it('leaves the rate of a merge under way as it is', async () => {
    const device = await attach();
    await write(device, 0);
    await ploop('snapshot', dir, '--name', 'old');
    await write(device, 1);
    await take();
    await write(device, 2);
    await ploop('snapshot-delete', dir, 'old', '--background', '--rate', '64K');
    await holder.end();
    await ploop('snapshot', dir, '--name', 'next');
    expect(await names()).toEqual(['next']);
    const jobs = await listJobs(dir, { runDir: scratch.runDir });
    expect(jobs.map(({ name, rate }) => [name, rate])).toEqual([
      ['old', 64 * 1024],
      ['held', 64 * 1024],
    ]);
  });
});
