// SPDX-License-Identifier: Apache-2.0
// A slow reader of `ploop send` while the snapshots it reads are deleted, and the image goes on being written.
import { open, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { pipeline } from '../helpers/pipeline.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

async function snapshotNames(dir: string): Promise<(string | null)[]> {
  return (await ploop('snapshot-list', dir, '--json')).json<{ snapshots: { name: string | null }[] }>().snapshots.map((one) => one.name);
}

async function content(dir: string, snapshot?: string): Promise<Buffer> {
  await using reader = await native.openReader(dir, snapshot === undefined ? {} : { snapshot });
  return reader.read(0, 64 * MIB);
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('sending beside a deletion', () => {
  it('gives the snapshots as they were, and the deletion comes about afterwards', async () => {
    const [src, dst, go] = [scratch.path('src'), scratch.path('dst'), scratch.path('go')];
    await ploop('create', src, '--size', '64M', '--fs', 'none');
    const { device } = (await ploop('attach', src, '--json')).json<{ device: string }>();
    const noise = (await readFile(process.execPath)).subarray(0, 16 * MIB);
    const disk = await open(device, 'r+');
    for (const [at, name] of ['one', 'two', 'three'].entries()) {
      await disk.write(noise, at * 4096, noise.length - at * 4096, at * 12 * MIB);
      await disk.sync();
      await ploop('snapshot', src, '--name', name);
    }
    // The reader takes the first MiB, and the rest when it is told to: until then the sender holds its layers.
    const slow = `(dd bs=1M count=1 iflag=fullblock status=none; while [ ! -e ${go} ]; do sleep 0.05; done; cat)`;
    const sending = pipeline(`ploop send ${src} --level 0 | ${slow} | ploop receive ${dst} --json`);
    while ((await ploop('receive', '--resume-token', dst)).status !== 0) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await ploop('snapshot-delete', src, 'two', '--background')).toMatchObject({ status: 0 });
    await disk.write(noise, 0, MIB, 20 * MIB);
    await disk.sync();
    await (await open(go, 'w')).close();
    const { statuses, stdout, stderr } = await sending;
    expect({ statuses, stderr }).toMatchObject({ statuses: [0, 0, 0] });
    expect(JSON.parse(stdout)).toMatchObject({ snapshots: 3 });
    expect(await snapshotNames(dst)).toEqual(['one', 'two', 'three']);

    await disk.close();
    await ploop('detach', src);
    await ploop('snapshot-delete', src, 'two').catch(() => undefined);
    expect(await snapshotNames(src)).toEqual(['one', 'three']);
    for (const name of ['one', 'three']) expect((await content(dst, name)).equals(await content(src, name))).toBe(true);
    for (const dir of [src, dst]) expect((await ploop('check', dir, '--json')).json()).toMatchObject({ clean: true });
    // Changes still fit: the receiver has more snapshots than the sender.
    await ploop('snapshot', src, '--name', 'four');
    expect(await pipeline(`ploop send ${src} --since three | ploop receive ${dst}`)).toMatchObject({ statuses: [0, 0] });
    expect((await content(dst)).equals(await content(src))).toBe(true);
  });
});
