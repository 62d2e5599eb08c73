// SPDX-License-Identifier: Apache-2.0
// ploop resize to a smaller size on real images.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { checkImage, switchToSnapshot, takeSnapshot } from '../../src/attach/operations.js';
import { run } from '../../src/exec/run.js';
import { checkFileSystem } from '../../src/filesystem/check.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { resizeImage } from '../../src/filesystem/image/resize.js';
import { withAttached } from '../../src/filesystem/image/temporary.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { imageFileSystem } from '../../src/filesystem/image/usage.js';
import { readDescriptor } from '../../src/image/descriptor.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAt } from './device.js';

const MIB = 1024 * 1024;
const LARGE = 512 * MIB;
const SMALL = 128 * MIB;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'xfs'))('an image gets smaller', () => {
  let image: string;
  let mountPoint: string;
  const scratch = scratchPerTest((places) => void ({ image, mountPoint } = places));

  const hostBytes = async (): Promise<number> =>
    Number.parseInt((await run('du', ['-s', '--block-size=1', join(image, 'layers')])).stdout, 10);
  const random = (name: string, mib: number): Promise<unknown> =>
    run('dd', ['if=/dev/urandom', `of=${join(mountPoint, name)}`, 'bs=1M', `count=${mib}`, 'conv=fsync']);
  const sums = async (): Promise<string> => (await run('sha256sum', ['a', 'b'], { cwd: mountPoint })).stdout;

  /** Two files with a gap between that was a third one; b lies behind it. */
  const fill = async (): Promise<string> => {
    await newImage(image, { sizeBytes: LARGE, fs: 'ext4' });
    await mountImage(image, { mountPoint });
    await random('a', 20);
    await run('fallocate', ['-l', '250M', join(mountPoint, 'gap')]);
    await random('b', 20);
    await run('rm', [join(mountPoint, 'gap')]);
    const before = await sums();
    await unmountImage(image);
    return before;
  };

  const soundWith = async (kept: string): Promise<void> => {
    expect(await checkImage(image)).toMatchObject({ findings: [] });
    const clean = await withAttached(image, ({ device }) => checkFileSystem(device, { type: 'ext4' }), { readOnly: true });
    expect(clean).toMatchObject({ clean: true });
    await mountImage(image, { mountPoint });
    expect(await sums()).toBe(kept);
    await unmountImage(image);
    expect(await listAttachments()).toEqual([]);
  };

  it('with its ext4, which keeps its files, and grows again', async () => {
    const kept = await fill();
    expect(await resizeImage(image, { sizeBytes: SMALL })).toEqual({
      oldSizeBytes: LARGE,
      sizeBytes: SMALL,
      grown: null,
      shrunk: 'ext4',
      mountPoint: null,
    });
    expect(await readDescriptor(image)).toMatchObject({ size: SMALL, snapshots: [] });
    expect((await imageFileSystem(image))?.usage.totalBytes).toBeLessThan(SMALL);
    expect(await hostBytes()).toBeLessThan(SMALL);
    await soundWith(kept);
    await resizeImage(image, { sizeBytes: LARGE });
    await soundWith(kept);
  });

  it('over a snapshot, which keeps its size and content and does not come to light by growing', async () => {
    const kept = await fill();
    const { id } = await takeSnapshot(image, { name: 'large' });
    await resizeImage(image, { sizeBytes: SMALL });
    await soundWith(kept);
    await native.resize(image, LARGE);
    const reader = await native.openReader(image);
    const seen = Buffer.concat([await reader.read(SMALL, 64 * MIB), await reader.read(LARGE - 4 * MIB, 4 * MIB)]);
    await reader.close();
    expect(seen.every((byte) => byte === 0)).toBe(true);
    await resizeImage(image, { sizeBytes: SMALL });
    await switchToSnapshot(image, id, { discard: true });
    expect((await readDescriptor(image)).size).toBe(LARGE);
    await soundWith(kept);
  });

  it('not below what its ext4 needs, which it names, and which works', async () => {
    const kept = await fill();
    const refused = await resizeImage(image, { sizeBytes: 4096 }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('cannot become smaller') as string });
    expect((await readDescriptor(image)).size).toBe(LARGE);
    const { minSizeBytes } = (refused as { details: { minSizeBytes: number } }).details;
    expect(minSizeBytes).toBeGreaterThan(40 * MIB);
    expect(minSizeBytes).toBeLessThan(LARGE / 2);
    await soundWith(kept);
    expect(await resizeImage(image, { sizeBytes: minSizeBytes })).toMatchObject({ sizeBytes: minSizeBytes });
    await soundWith(kept);
  });

  it('not while it is mounted, and never with an xfs', async () => {
    await newImage(image, { sizeBytes: LARGE, fs: 'xfs' });
    await expect(resizeImage(image, { sizeBytes: 400 * MIB })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('xfs cannot shrink') as string,
    });
    await mountImage(image, { mountPoint });
    await expect(resizeImage(image, { sizeBytes: 400 * MIB })).rejects.toMatchObject({
      code: 'ATTACHED',
      hint: expect.stringContaining('ploop umount') as string,
    });
    await unmountImage(image);
    expect((await readDescriptor(image)).size).toBe(LARGE);
  });

  it('without a file system only where it holds nothing, unless it is told to cut', async () => {
    await newImage(image, { sizeBytes: LARGE, fs: 'none' });
    await withAttached(image, async ({ device }) => {
      await writeAt(device, 100 * MIB, Buffer.alloc(8192, 'x'));
    });
    await expect(resizeImage(image, { sizeBytes: 64 * MIB })).rejects.toMatchObject({ details: { minSizeBytes: 100 * MIB + 8192 } });
    expect(await resizeImage(image, { sizeBytes: 100 * MIB + 8192 })).toMatchObject({ shrunk: null });
    expect(await resizeImage(image, { sizeBytes: 100 * MIB + 4096, cut: true })).toMatchObject({ sizeBytes: 100 * MIB + 4096 });
    await resizeImage(image, { sizeBytes: LARGE });
    const reader = await native.openReader(image);
    const tail = await reader.read(100 * MIB, 8192);
    await reader.close();
    expect(tail).toEqual(Buffer.concat([Buffer.alloc(4096, 'x'), Buffer.alloc(4096)]));
  });

  it('not at all when resize2fs dies in the middle', async () => {
    const kept = await fill();
    const bin = scratch.path('bin');
    await mkdir(bin);
    // The real one, ended as by a power failure while it moves blocks.
    const script = '#!/bin/sh\n[ "$1" = -P ] && exec /sbin/resize2fs "$@"\n/sbin/resize2fs "$@" &\nsleep 0.1\nkill -9 $!\nexit 1\n';
    await writeFile(join(bin, 'resize2fs'), script, { mode: 0o755 });
    const path = process.env['PATH'];
    process.env['PATH'] = `${bin}:${path ?? ''}`;
    const outcome = await resizeImage(image, { sizeBytes: 64 * MIB }).then(
      () => null,
      (error: unknown) => error,
    );
    process.env['PATH'] = path;
    expect(outcome).toMatchObject({ code: 'TOOL_FAILED' });
    expect(await readDescriptor(image)).toMatchObject({ size: LARGE, snapshots: [] });
    expect(await readdir(image)).not.toContain('aside');
    await soundWith(kept);
  });

  it.each(['check', 'file system', 'disk'])('after it was killed at the step "%s", when the same command runs again', async (step) => {
    const kept = await fill();
    const script = `
      import { resizeImage } from './src/filesystem/image/resize.ts';
      const onStep = (step) => step === process.argv[2] && process.kill(process.pid, 'SIGKILL');
      await resizeImage(process.argv[1], { sizeBytes: ${SMALL}, onStep });`;
    const killed = await run('npx', ['tsx', '--input-type=module', '-e', script, image, step], { accept: 'any' });
    expect(killed.stderr).not.toContain('Error');
    expect((await readDescriptor(image)).size).toBe(LARGE);
    await mountImage(image, { mountPoint });
    // Nothing else of the killed command is attached any more.
    expect(await listAttachments()).toHaveLength(1);
    expect(await readdir(image)).not.toContain('aside');
    expect(await listSnapshots(image)).toEqual([]);
    expect(await sums()).toBe(kept);
    await writeFile(join(mountPoint, 'new'), 'since');
    await unmountImage(image);
    expect(await resizeImage(image, { sizeBytes: SMALL })).toMatchObject({ sizeBytes: SMALL });
    await soundWith(kept);
    await mountImage(image, { mountPoint });
    expect(await readFile(join(mountPoint, 'new'), 'utf8')).toBe('since');
    await unmountImage(image);
  });
});
