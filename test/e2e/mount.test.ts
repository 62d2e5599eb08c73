// SPDX-License-Identifier: Apache-2.0
// ploop mount and umount on real images, and what they do when something is in the way.
import { execFileSync } from 'node:child_process';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { findAttachment, listAttachments } from '../../src/attach/attachments.js';
import { attachImage } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { consistentSnapshot } from '../../src/filesystem/image/snapshot.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const SIZE_BYTES = 512 * 1024 * 1024;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'xfs'))('mounting an image', () => {
  let image: string;
  let mountPoint: string;
  const scratch = scratchPerTest((places) => void ({ image, mountPoint } = places));

  it.each(['ext4', 'xfs'] as const)('keeps what was written to %s from one mount to the next', async (fs) => {
    await newImage(image, { sizeBytes: SIZE_BYTES, fs });
    const first = await mountImage(image, { mountPoint });
    expect(first).toMatchObject({ mountPoint, type: fs, readOnly: false, journalSkipped: false });
    await writeFile(join(mountPoint, 'f'), 'kept');
    expect(await unmountImage(image)).toMatchObject({ mountPoints: [mountPoint], detached: true, remaining: [] });
    expect(await listAttachments()).toEqual([]);
    await mountImage(image, { mountPoint });
    expect(await readFile(join(mountPoint, 'f'), 'utf8')).toBe('kept');
    await unmountImage(mountPoint);
    expect(await listAttachments()).toEqual([]);
  });

  it('chooses a place below the run directory when nobody names one, and removes it afterwards', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    const mounted = await mountImage(image);
    expect(mounted.mountPoint.startsWith(`${scratch.runDir}/mounts/`)).toBe(true);
    await unmountImage(mounted.device);
    await expect(access(mounted.mountPoint)).rejects.toThrow('ENOENT');
  });

  it('says where an image is mounted that is mounted already', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    await mountImage(image, { mountPoint });
    await expect(mountImage(image)).rejects.toMatchObject({
      code: 'MOUNTED',
      message: expect.stringContaining(`is mounted on ${mountPoint}`) as string,
    });
    await unmountImage(image);
    await expect(unmountImage(image)).rejects.toMatchObject({ code: 'NOT_ATTACHED' });
  });

  it('leaves an image alone that is attached as a device', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    const { device } = await attachImage(image);
    await expect(mountImage(image, { mountPoint })).rejects.toMatchObject({
      code: 'ATTACHED',
      message: expect.stringContaining(`attached as ${device}`) as string,
    });
    await expect(unmountImage(image)).rejects.toMatchObject({ code: 'ATTACHED' });
  });

  it('names the processes that keep it from being unmounted, and changes nothing', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    await mountImage(image, { mountPoint });
    const stop = new AbortController();
    const sleeper = run('sleep', ['60'], { cwd: mountPoint, signal: stop.signal }).catch((error: unknown) => error);
    await expect(unmountImage(image)).rejects.toMatchObject({
      code: 'MOUNTED',
      message: expect.stringMatching(/used by sleep 60 \(pid \d+/) as string,
    });
    await writeFile(join(mountPoint, 'f'), 'still there');
    stop.abort();
    await sleeper;
    await unmountImage(image);
  });

  it('detaches again what cannot be mounted', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES, fs: 'none' });
    await expect(mountImage(image, { mountPoint })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('mkfs.ext4') as string,
    });
    await expect(mountImage(image, { mountPoint: scratch.path('none') })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(mountImage(image, { mountPoint: image })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await listAttachments()).toEqual([]);
  });

  it.each(['ext4', 'xfs'] as const)('shows snapshots of %s that were taken while it was mounted, several at once', async (fs) => {
    await newImage(image, { sizeBytes: SIZE_BYTES, fs });
    await mountImage(image, { mountPoint });
    for (const text of ['one', 'two']) {
      await writeFile(join(mountPoint, 'f'), text);
      expect((await consistentSnapshot(image, { name: text })).frozenMs).toBeGreaterThan(0);
    }
    await writeFile(join(mountPoint, 'f'), 'three');
    await unmountImage(image);
    for (const text of ['one', 'two']) {
      const shown = await mountImage(image, { snapshot: text });
      // A frozen xfs keeps a record in its log on purpose; all data is in place nevertheless.
      expect(shown).toMatchObject({ readOnly: true, journalSkipped: fs === 'xfs' });
      expect(await readFile(join(shown.mountPoint, 'f'), 'utf8')).toBe(text);
      await expect(writeFile(join(shown.mountPoint, 'f'), 'x')).rejects.toThrow('EROFS');
    }
    await expect(mountImage(image, { snapshot: 'two' })).rejects.toMatchObject({ code: 'MOUNTED' });
    await expect(unmountImage(image)).rejects.toMatchObject({
      code: 'AMBIGUOUS_ID',
      message: expect.stringContaining('several of its snapshots are') as string,
    });
    await unmountImage(image, { snapshot: 'one' });
    await unmountImage(image);
    await mountImage(image, { mountPoint });
    expect(await readFile(join(mountPoint, 'f'), 'utf8')).toBe('three');
    await unmountImage(image);
  });

  it('refuses writes when mounted read-only', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    expect(await mountImage(image, { mountPoint, readOnly: true })).toMatchObject({ readOnly: true });
    await expect(writeFile(join(mountPoint, 'f'), 'x')).rejects.toThrow('EROFS');
    await unmountImage(image);
  });

  it('tidies up after keeper and worker were killed', async () => {
    await newImage(image, { sizeBytes: SIZE_BYTES });
    await mountImage(image, { mountPoint });
    await writeFile(join(mountPoint, 'f'), 'flushed');
    await run('sync', ['-f', mountPoint]);
    const { keeper, worker } = (await findAttachment(image))!;
    await endPloopd(keeper, worker);
    await expect(mountImage(image)).rejects.toMatchObject({
      code: 'MOUNTED',
      message: expect.stringContaining('its ploopd is gone') as string,
    });
    expect(await unmountImage(image)).toMatchObject({ detached: true });
    await mountImage(image, { mountPoint });
    expect(await readFile(join(mountPoint, 'f'), 'utf8')).toBe('flushed');
    await unmountImage(image);
  });

  it('ends with the exit status of the error', async () => {
    const command = (...args: string[]): { status?: number; stderr?: string } => {
      try {
        execFileSync(process.execPath, ['bin/ploop.js', ...args], { stdio: 'pipe', encoding: 'utf8' });
        return { status: 0 };
      } catch (error) {
        return error as { status: number; stderr: string };
      }
    };
    expect(command('mount', scratch.path('none'))).toMatchObject({ status: 7 });
    expect(command('mount', scratch.directory)).toMatchObject({ status: 3 });
    expect(command('umount', '/')).toMatchObject({ status: 12 });
    expect(command('create', image, '--size', '64M').status).toBe(0);
    expect(command('mount', image, mountPoint).status).toBe(0);
    expect(command('mount', image, mountPoint)).toMatchObject({ status: 13, stderr: expect.stringContaining(mountPoint) as string });
    expect(command('umount', mountPoint).status).toBe(0);
  });
});
