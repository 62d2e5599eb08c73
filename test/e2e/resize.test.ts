// SPDX-License-Identifier: Apache-2.0
// ploop resize and compact on real images, detached and mounted.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { attachImage, detachAttachment } from '../../src/attach/ploopd.js';
import { PloopError } from '../../src/errors.js';
import { run } from '../../src/exec/run.js';
import { checkFileSystem } from '../../src/filesystem/check.js';
import { compactImage } from '../../src/filesystem/image/compact.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { resizeImage } from '../../src/filesystem/image/resize.js';
import { withAttached } from '../../src/filesystem/image/temporary.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { imageFileSystem } from '../../src/filesystem/image/usage.js';
import { fileSystemUsage } from '../../src/filesystem/usage.js';
import { readDescriptor } from '../../src/image/descriptor.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 1024 * 1024;
const SIZE_BYTES = 512 * MIB;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'xfs')).each(['ext4', 'xfs'] as const)('an image with %s', (fs) => {
  let image: string;
  let mountPoint: string;
  scratchPerTest(async (places) => {
    ({ image, mountPoint } = places);
    await newImage(image, { sizeBytes: SIZE_BYTES, fs });
  });

  const hostBytes = async (): Promise<number> =>
    Number.parseInt((await run('du', ['-s', '--block-size=1', join(image, 'layers')])).stdout, 10);

  it('grows with its file system while detached, and keeps its files', async () => {
    await mountImage(image, { mountPoint });
    await writeFile(join(mountPoint, 'f'), 'kept');
    await unmountImage(image);
    expect(await resizeImage(image, { sizeBytes: 3 * SIZE_BYTES })).toEqual({
      oldSizeBytes: SIZE_BYTES,
      sizeBytes: 3 * SIZE_BYTES,
      grown: fs,
      shrunk: null,
      mountPoint: null,
    });
    expect(await listAttachments()).toEqual([]);
    expect((await imageFileSystem(image))?.usage.totalBytes).toBeGreaterThan(2.6 * SIZE_BYTES);
    const check = await withAttached(image, ({ device }) => checkFileSystem(device, { type: fs }), { readOnly: true });
    expect(check).toMatchObject({ clean: true });
    await mountImage(image, { mountPoint });
    expect(await readFile(join(mountPoint, 'f'), 'utf8')).toBe('kept');
    await unmountImage(image);
  });

  it('grows while mounted, or says what the host lacks and changes nothing', async () => {
    await mountImage(image, { mountPoint });
    const outcome = await resizeImage(image, { sizeBytes: 2 * SIZE_BYTES }).catch((error: unknown) => error);
    if (outcome instanceof PloopError) {
      expect(fs).toBe('ext4');
      expect(outcome).toMatchObject({ code: 'NOT_PERMITTED', message: expect.stringContaining('CAP_SYS_RESOURCE') as string });
      expect((await readDescriptor(image)).size).toBe(SIZE_BYTES);
    } else {
      expect(outcome).toMatchObject({ sizeBytes: 2 * SIZE_BYTES, grown: fs, mountPoint });
      expect((await fileSystemUsage(mountPoint)).totalBytes).toBeGreaterThan(1.7 * SIZE_BYTES);
    }
    await unmountImage(image);
  });

  it('is refused a size beyond what images can have', async () => {
    await expect(resizeImage(image, { sizeBytes: 2 ** 52 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it.each(['mounted', 'detached'])('gives the space of deleted files back to the host while %s', async (how) => {
    await mountImage(image, { mountPoint });
    for (const name of ['a', 'b', 'c', 'd']) {
      await run('dd', ['if=/dev/urandom', `of=${join(mountPoint, name)}`, 'bs=1M', 'count=40', 'conv=fsync']);
    }
    const kept = (await run('sha256sum', ['d'], { cwd: mountPoint })).stdout;
    const full = await hostBytes();
    expect(full).toBeGreaterThan(160 * MIB);
    for (const name of ['a', 'b', 'c']) await rm(join(mountPoint, name));
    if (how === 'detached') await unmountImage(image);
    const done = await compactImage(image);
    expect(done.hostBytesBefore - done.hostBytesAfter).toBeGreaterThan(115 * MIB);
    expect(done.trimmedBytes).toBeGreaterThan(115 * MIB);
    expect(done.lengthBytesAfter).toBeLessThan(done.lengthBytesBefore);
    if (how === 'detached') await mountImage(image, { mountPoint });
    const { usedBytes } = await fileSystemUsage(mountPoint);
    expect(await hostBytes()).toBeLessThan(usedBytes * 1.05 + 16 * MIB);
    expect((await run('sha256sum', ['d'], { cwd: mountPoint })).stdout).toBe(kept);
    await unmountImage(image);
  });

  it('leaves nothing attached when a compaction is interrupted', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 150);
    const outcome = await compactImage(image, { signal: stop.signal }).catch((error: unknown) => error);
    if (outcome instanceof PloopError) expect(outcome.code).toBe('INTERRUPTED');
    expect(await listAttachments()).toEqual([]);
    await compactImage(image);
  });

  it('takes away what a killed command left, and nothing that somebody else attached', async () => {
    const script = `
      import { withAttached, withMountedDevice } from './src/filesystem/image/temporary.ts';
      await withAttached(process.argv[1], ({ device }) =>
        withMountedDevice(device, () => { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}); }, { type: process.argv[2] }));`;
    await run('npx', ['tsx', '--input-type=module', '-e', script, image, fs], { accept: 'any' });
    expect(await listAttachments()).toHaveLength(1);
    await mountImage(image, { mountPoint });
    expect((await listAttachments())[0]).toMatchObject({ live: true });
    await unmountImage(image);
    await run('npx', ['tsx', '--input-type=module', '-e', script, image, fs], { accept: 'any' });
    const [left] = await listAttachments();
    // Somebody tidies up by hand and attaches the image for himself.
    await run('umount', [left!.device!]);
    await detachAttachment(left!);
    const own = await attachImage(image);
    await expect(compactImage(image)).resolves.toMatchObject({ trimmedBytes: null });
    expect(await listAttachments()).toHaveLength(1);
    await detachAttachment(own);
  });
});
