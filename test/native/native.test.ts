// SPDX-License-Identifier: Apache-2.0
// The real addon on real image directories: what each call does to the image, off the main thread.
import { readFile, stat } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';

import { native } from '../../src/native/index.js';
import { writeSamples } from '../helpers/samples.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

let dir: string;
const scratch = scratchPerTest((places) => void ({ image: dir } = places));

describe('create and info', () => {
  it('makes an image whose descriptor says what was asked for', async () => {
    await native.create(dir, { size: 64 * MIB, blockSize: 8192, label: 'a läbel', fs: 'xfs' });
    const info = await native.info(dir, { usage: true });
    expect(info).toMatchObject({ size: 64 * MIB, blockSize: 8192, label: 'a läbel', fs: 'xfs', snapshots: [] });
    expect(info.layers).toHaveLength(1);
    expect(info.layers[0]).toMatchObject({ id: info.top, parent: null, usage: { ownedBytes: 0, clusters: 0 } });
    expect(info.layers[0]?.usage?.hostBytes).toBeLessThan(MIB);
    expect((JSON.parse(await readFile(`${dir}/image.json`, 'utf8')) as { id: string }).id).toBe(info.id);
  });

  it('rounds the size up to a whole block', async () => {
    await native.create(dir, { size: MIB + 1, blockSize: 65536 });
    expect((await native.info(dir)).size).toBe(MIB + 65536);
  });

  it('leaves an existing image as it is', async () => {
    await native.create(dir, { size: MIB });
    const before = await readFile(`${dir}/image.json`, 'utf8');
    await expect(native.create(dir, { size: 2 * MIB })).rejects.toMatchObject({ code: 'EXISTS' });
    expect(await readFile(`${dir}/image.json`, 'utf8')).toBe(before);
  });

  it('makes a disk of 64 TiB that costs next to nothing, and refuses more at 4 KiB blocks', async () => {
    await native.create(dir, { size: 64 * 2 ** 40 });
    expect((await native.info(dir)).size).toBe(64 * 2 ** 40);
    await expect(native.create(scratch.path('larger'), { size: 65 * 2 ** 40 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('says so when there is nothing, or not an image', async () => {
    await expect(native.info(dir)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(native.info(scratch.runDir)).rejects.toMatchObject({ code: 'NOT_AN_IMAGE' });
    await expect(native.info('/etc/hostname')).rejects.toMatchObject({ code: 'NOT_AN_IMAGE' });
  });
});

describe('operations on the tree', () => {
  beforeEach(() => native.create(dir, { size: 16 * MIB }));

  it('takes a snapshot, goes back to it and deletes it', async () => {
    const id = await native.snapshot(dir, { name: 'first', description: 'before' });
    const info = await native.info(dir);
    expect(info.snapshots).toMatchObject([{ id, name: 'first', description: 'before', hidden: false }]);
    expect(info.layers.find((layer) => layer.id === info.top)?.parent).toBe(info.snapshots[0]?.layer);

    await native.switchTo(dir, 'first');
    expect((await native.info(dir)).top).not.toBe(info.top);

    const progress: number[] = [];
    await native.deleteSnapshot(dir, id.slice(0, 8), { onProgress: (done) => progress.push(done) });
    const after = await native.info(dir);
    expect(after.snapshots).toEqual([]);
    expect(after.layers).toHaveLength(1);
  });

  it('does not find snapshots that are not there', async () => {
    await expect(native.switchTo(dir, 'nothing')).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    await expect(native.openReader(dir, { snapshot: 'nothing' })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  });

  it('grows and refuses to shrink', async () => {
    await native.resize(dir, 32 * MIB);
    expect((await native.info(dir)).size).toBe(32 * MIB);
    await expect(native.resize(dir, MIB)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((await native.info(dir)).size).toBe(32 * MIB);
  });

  it('compacts an empty image to nothing but metadata', async () => {
    const done = await native.compact(dir);
    expect(done.clustersFreed).toBe(0);
    expect(done.hostAfter).toBeLessThanOrEqual(done.hostBefore);
  });

  it('checks clean and maps to nothing', async () => {
    expect(await native.check(dir)).toMatchObject({ layers: 1, findingsTotal: 0, findings: [] });
    expect(await native.map(dir)).toEqual({
      extents: [{ offset: 0, length: 16 * MIB, layer: null, zero: true, hostOffset: null }],
      next: null,
    });
  });

  it('does nothing when the signal was aborted before', async () => {
    const id = await native.snapshot(dir);
    const work = native.deleteSnapshot(dir, id, { signal: AbortSignal.abort() });
    await expect(work).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect((await native.info(dir)).snapshots).toHaveLength(1);
  });

  it('ends with what a progress report throws, and goes on when it is called again', async () => {
    await writeSamples(scratch.directory);
    const image = scratch.path('snapshots');
    const onProgress = (): void => {
      throw new Error('enough');
    };
    // The next step would be hours away: what throws, or the signal, ends the wait for it.
    await expect(native.deleteSnapshot(image, 'one', { onProgress, rate: 16 })).rejects.toThrow('enough');
    const left = (await native.info(image)).snapshots.filter(({ hidden }) => hidden);
    expect(left).toMatchObject([{ name: 'one' }]);
    await native.deleteSnapshot(image, left[0]?.id ?? '');
    expect((await native.info(image)).snapshots).toMatchObject([{ name: 'two' }, { name: 'three' }]);
    expect(await native.check(image)).toMatchObject({ findings: [] });
  });

  it('lets one writer in at a time: the other is told who holds the image', async () => {
    const reader = await native.openReader(dir);
    await expect(native.snapshot(dir)).rejects.toMatchObject({ code: 'BUSY', message: expect.stringContaining('in use') });
    await reader.close();
    await native.snapshot(dir);
  });
});

describe('isLocked', () => {
  it('sees the shared lock of a reader, and the end of it', async () => {
    await native.create(dir, { size: MIB });
    const reader = await native.openReader(dir);
    expect(await native.isLocked(`${dir}/lock`)).toBe(false);
    expect(await native.isLocked(`${dir}/lock`, { shared: true })).toBe(true);
    await reader.close();
    expect(await native.isLocked(`${dir}/lock`, { shared: true })).toBe(false);
    expect(await native.isLocked(scratch.path('nothing'))).toBe(false);
    expect((await stat(`${dir}/lock`)).isFile()).toBe(true);
  });
});
