// SPDX-License-Identifier: Apache-2.0
// Containers' images from a template: the first one fills an image, all are clones of it, and need it no more then.
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { native } from '../../src/native/index.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { imageFromTemplate, type TemplateImageOptions } from '../../src/template/image.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { hostBytes } from './device.js';

const MIB = 2 ** 20;

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'busybox'))('an image from a template', () => {
  let options: TemplateImageOptions;
  const scratch = scratchPerTest(async ({ path, runDir }) => {
    const template = path('tiny.tar');
    await makeBusyboxTemplate(template);
    options = { template, fs: 'ext4', sizeBytes: 64 * MIB, cacheDir: path('cache'), runDir };
  });
  const [one, two] = ['one', 'two'];
  const make = (name: string, more: Partial<TemplateImageOptions> = {}): Promise<void> =>
    imageFromTemplate(scratch.path(name), { ...options, ...more });
  const kept = (): Promise<string[]> => readdir(scratch.path('image'));

  /** The files of its layers, base first, by what the host knows them by. */
  async function files(name: string): Promise<number[]> {
    const dir = scratch.path(name);
    const { layers } = await native.info(dir);
    return Promise.all(layers.map(async ({ id }) => (await stat(join(dir, 'layers', `${id}.plp`))).ino));
  }

  async function release(name: string): Promise<string> {
    const { mountPoint } = await mountImage(scratch.path(name), { mountPoint: scratch.mountPoint });
    const text = await readFile(join(mountPoint, 'etc/os-release'), 'utf8');
    await unmountImage(mountPoint);
    return text;
  }

  it('is a clone: the file that the template fills is one for all, and each has its own top', async () => {
    let filled = 0;
    await make(one, { onProgress: () => filled++ });
    expect(filled).toBeGreaterThan(0);
    filled = 0;
    await make(two, { onProgress: () => filled++ });
    expect(filled).toBe(0);
    const [first, second] = [await files(one), await files(two)];
    expect([first.length, second.length]).toEqual([2, 2]);
    expect(second[0]).toBe(first[0]);
    expect(second[1]).not.toBe(first[1]);
    const { layers, top } = await native.info(scratch.path(two), { usage: true });
    expect(layers.find(({ id }) => id === top)?.usage?.hostBytes).toBeLessThanOrEqual(64 * 1024);
    expect(await release(two)).toContain('busybox');
  });

  it('is made anew from a tarball that has changed; what came from the old one stays as it is', async () => {
    await make(one);
    const before = await kept();
    const bytes = await hostBytes(scratch.path(one));
    await utimes(options.template, new Date(), new Date(Date.now() + 10_000));
    await make(two);
    const after = await kept();
    expect([before.length, after.length]).toEqual([1, 1]);
    expect(after).not.toEqual(before);
    expect((await files(two))[0]).not.toBe((await files(one))[0]);
    expect(await hostBytes(scratch.path(one))).toBe(bytes);
    expect(await release(one)).toBe(await release(two));
  });

  it('has an image for each size and file system, and needs none of them afterwards', async () => {
    await make(one);
    await make(two, { sizeBytes: 96 * MIB });
    expect(await kept()).toHaveLength(2);
    await rm(scratch.path('image'), { recursive: true });
    expect(await release(one)).toContain('busybox');
    expect(await native.check(scratch.path(two))).toMatchObject({ findings: [] });
  });

  it('leaves nothing behind when it cannot be filled', async () => {
    const missing = options.template;
    await rm(missing);
    await expect(make(one)).rejects.toThrow();
    await makeBusyboxTemplate(missing);
    await expect(make(one, { sizeBytes: MIB })).rejects.toThrow();
    expect(await kept()).toEqual([]);
  });
});
