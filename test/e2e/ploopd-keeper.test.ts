// SPDX-License-Identifier: Apache-2.0
// The keeper killed, alone or with its worker: nothing that was flushed is lost, and the next command cleans up or explains.
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { run } from '../../src/exec/run.js';
import { type ConsistentSnapshot, consistentSnapshot } from '../../src/filesystem/image/snapshot.js';
import { native } from '../../src/native/index.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage } from './device.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('a keeper that is killed', () => {
  let scratch: Scratch;
  let image: Attached;
  let mountPoint: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    image = await attach(scratch, await createImage(scratch, 'image', 256 * 2 ** 20));
    await run('mkfs.ext4', ['-q', image.device]);
  });
  afterEach(() => scratch.clean());

  const killBoth = (): Promise<void> => endPloopd(image.keeper, image.worker);

  it('leaves a device that works when the worker lives on', async () => {
    await endPloopd(image.keeper);
    await run('fsck.ext4', ['-fn', image.device]);
    await expect(attach(scratch, image.dir)).rejects.toMatchObject({ code: 'ATTACHED' });
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('with its worker, under a mounted file system: refuses, then works again after umount', async () => {
    await run('mount', [image.device, mountPoint]);
    await writeFile(join(mountPoint, 'flushed'), 'a'.repeat(100_000), { flush: true });
    await killBoth();
    await expect(attach(scratch, image.dir)).rejects.toMatchObject({
      code: 'MOUNTED',
      message: expect.stringMatching(/attached by a ploopd that was killed.*is mounted or open/) as string,
    });
    await expect(image.detach()).rejects.toMatchObject({ code: 'MOUNTED' });
    await run('umount', [mountPoint]);
    const again = await attach(scratch, image.dir);
    await run('fsck.ext4', ['-fy', again.device], { accept: [0, 1] });
    await run('mount', [again.device, mountPoint]);
    await run('cmp', [join(mountPoint, 'flushed'), '-'], { input: 'a'.repeat(100_000) });
    await run('umount', [mountPoint]);
    await again.detach();
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('with its worker: a snapshot says that the file system was not frozen', async () => {
    await run('mount', [image.device, mountPoint]);
    await writeFile(join(mountPoint, 'flushed'), 'kept', { flush: true });
    await killBoth();
    const notes: string[] = [];
    const { runDir } = scratch;
    // The kernel may still be ending what the dead had open: BUSY until then.
    const take = (): Promise<ConsistentSnapshot> => consistentSnapshot(image.dir, { runDir, onNote: (note) => notes.push(note) });
    expect(await vi.waitFor(take, { timeout: 10_000 })).toMatchObject({ live: false, frozenMs: null });
    expect(notes).toEqual([expect.stringMatching(/was killed under a mounted file system, which was not frozen.*ploop umount/) as string]);
    await run('umount', [mountPoint]);
    await take();
    expect(notes).toHaveLength(1);
    await image.detach();
  });

  it('with its worker: detach removes the device and the folder', async () => {
    await killBoth();
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
    expect((await native.check(image.dir)).findings).toEqual([]);
    await expect(image.detach()).rejects.toMatchObject({ code: 'NOT_ATTACHED' });
  });

  it.each(['attach', 'detach'])('with its worker, in the middle of writes: %s leaves a clean image, ten times', async (next) => {
    for (let round = 0; round < 10; round++) {
      const options = { accept: 'any' } as const;
      const writes = run('dd', ['if=/dev/urandom', `of=${image.device}`, 'bs=256k', 'oflag=direct', 'status=none'], options);
      await new Promise((resolve) => setTimeout(resolve, 30 + 20 * round));
      await killBoth();
      await writes;
      if (next === 'attach') image = await attach(scratch, image.dir);
      await image.detach();
      expect((await native.check(image.dir)).findings).toEqual([]);
      image = await attach(scratch, image.dir);
    }
  });
});
