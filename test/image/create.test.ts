// SPDX-License-Identifier: Apache-2.0
// Making and removing image directories: all or nothing, and never what is not ours.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { createImage, removeImage } from '../../src/image/create.js';
import { readDescriptor } from '../../src/image/descriptor.js';
import { native } from '../../src/native/index.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

let dir: string;
const scratch = scratchPerTest((places) => void ({ image: dir } = places));

describe('createImage', () => {
  it('makes the directory, for its owner alone', async () => {
    await createImage(dir, { sizeBytes: MIB });
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
  });

  it('takes an empty directory as it is', async () => {
    await mkdir(dir, { mode: 0o755 });
    await createImage(dir, { sizeBytes: MIB });
    expect((await stat(dir)).mode & 0o777).toBe(0o755);
  });

  it.each([
    ['label', { sizeBytes: MIB, label: 'x'.repeat(64) }],
    ['block size', { sizeBytes: MIB, blockSizeBytes: 1000 }],
    ['size', { sizeBytes: 2 ** 49 }],
  ])('leaves no directory behind when the %s is refused', async (_, options) => {
    await expect(createImage(dir, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(existsSync(dir)).toBe(false);
  });

  it('leaves an empty directory that was there', async () => {
    await mkdir(dir);
    await expect(createImage(dir, { sizeBytes: 2 ** 49 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await readdir(dir)).toEqual([]);
  });

  it('names the likely spelling of an option', async () => {
    const options = { sizeBytes: MIB, blocksizeBytes: 4096 } as { sizeBytes: number };
    await expect(createImage(dir, options)).rejects.toMatchObject({
      message: /unknown option 'blocksizeBytes'; did you mean 'blockSizeBytes'/,
    });
  });
});

describe('removeImage', () => {
  it('removes an image, but nothing else that lies in the directory', async () => {
    await createImage(dir, { sizeBytes: MIB });
    await writeFile(`${dir}/notes.txt`, 'mine');
    await removeImage(dir);
    expect(await readdir(dir)).toEqual(['notes.txt']);
  });

  it('refuses what is not an image, and one that is in use', async () => {
    await mkdir(dir);
    await expect(removeImage(dir)).rejects.toMatchObject({ code: 'NOT_AN_IMAGE' });
    await createImage(dir, { sizeBytes: MIB });
    const reader = await native.openReader(dir);
    await expect(removeImage(dir)).rejects.toMatchObject({ code: 'BUSY' });
    await reader.close();
    await removeImage(dir);
    expect(existsSync(dir)).toBe(false);
  });

  it('removes a damaged image, too', async () => {
    await createImage(dir, { sizeBytes: MIB });
    await writeFile(`${dir}/image.json`, 'garbage');
    await removeImage(dir);
    expect(existsSync(dir)).toBe(false);
  });
});

describe('readDescriptor', () => {
  it('reads an unchanged one once, and a changed one anew', async () => {
    await createImage(dir, { sizeBytes: MIB });
    const first = await readDescriptor(dir);
    expect(await readDescriptor(`${dir}/../image`)).toBe(first);
    await native.snapshot(dir, { name: 'one' });
    const second = await readDescriptor(dir);
    expect(second).not.toBe(first);
    expect(second.snapshots).toHaveLength(1);
  });

  it('does not take one image for another that came to its place', async () => {
    const other = scratch.path('other');
    await createImage(dir, { sizeBytes: MIB });
    const { id } = await createImage(other, { sizeBytes: MIB });
    await readDescriptor(dir);
    await rename(dir, scratch.path('away'));
    await rename(other, dir);
    expect((await readDescriptor(dir)).id).toBe(id);
  });
});
