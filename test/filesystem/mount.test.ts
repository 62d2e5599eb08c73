// SPDX-License-Identifier: Apache-2.0
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { growFileSystem } from '../../src/filesystem/grow.js';
import { makeFileSystem } from '../../src/filesystem/make.js';
import { mountFileSystem } from '../../src/filesystem/mount.js';
import { trimFileSystem, trimJournal } from '../../src/filesystem/trim.js';
import { unmountFileSystem } from '../../src/filesystem/unmount.js';
import { fileSystemUsage } from '../../src/filesystem/usage.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;
const SIZE_BYTES = 320 * MIB;

describe.skipIf(lacks('root', 'loop', 'ext4', 'xfs')).each(['ext4', 'xfs'] as const)('a mounted %s', (type) => {
  it('says where it is mounted when mounted twice on one place', async () => {
    await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint }) => {
      await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
      await mountFileSystem(device, mountPoint, { type });
      await expect(mountFileSystem(device, mountPoint, { type })).rejects.toMatchObject({
        code: 'MOUNTED',
        message: expect.stringContaining(`${mountPoint} is a mount point already: ${device}`) as string,
      });
      await unmountFileSystem(mountPoint);
    });
  });

  it('names the process that keeps it busy', async () => {
    await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint }) => {
      await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
      await mountFileSystem(device, mountPoint, { type });
      const stop = new AbortController();
      const sleeper = run('sleep', ['60'], { cwd: mountPoint, signal: stop.signal }).catch((error: unknown) => error);
      await expect(unmountFileSystem(mountPoint)).rejects.toMatchObject({
        code: 'MOUNTED',
        message: expect.stringMatching(/busy: used by sleep 60 \(pid \d+, working directory/) as string,
      });
      stop.abort();
      await sleeper;
      await unmountFileSystem(mountPoint);
      await expect(unmountFileSystem(mountPoint)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });

  it('gives space back after files were deleted', async () => {
    await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint, hostBytes }) => {
      await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
      await mountFileSystem(device, mountPoint, { type });
      const fresh = await hostBytes();
      await run('dd', ['if=/dev/urandom', `of=${join(mountPoint, 'f')}`, 'bs=1M', 'count=64', 'conv=fsync']);
      expect(await hostBytes()).toBeGreaterThan(fresh + 60 * MIB);
      await run('rm', [join(mountPoint, 'f')]);
      expect((await trimFileSystem(mountPoint)).trimmedBytes).toBeGreaterThan(60 * MIB);
      expect(await trimJournal(mountPoint)).toBe(type === 'ext4');
      expect(await hostBytes()).toBeLessThan(fresh + 2 * MIB);
    });
  });

  it('mounts read-only from a read-only device whose journal was not played back', async () => {
    await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint, file, directory }) => {
      await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
      await mountFileSystem(device, mountPoint, { type });
      await writeFile(join(mountPoint, 'a'), 'kept');
      // An unmount leaves the journal empty; 'b' is in the journal alone.
      await unmountFileSystem(mountPoint);
      await mountFileSystem(device, mountPoint, { type });
      await writeFile(join(mountPoint, 'b'), 'in the journal');
      const handle = await open(join(mountPoint, 'b'));
      await handle.sync();
      await handle.close();
      // As a crash would leave it.
      const crashed = join(directory, 'crashed.raw');
      await run('cp', ['--sparse=always', file, crashed]);
      await unmountFileSystem(mountPoint);
      const readOnly = (await run('losetup', ['--find', '--show', '--read-only', crashed])).stdout.trim();
      try {
        expect(await mountFileSystem(readOnly, mountPoint, { type, readOnly: true })).toEqual({ mountPoint, journalSkipped: true });
        expect(await readFile(join(mountPoint, 'a'), 'utf8')).toBe('kept');
        await unmountFileSystem(mountPoint);
      } finally {
        await run('losetup', ['--detach', readOnly]);
      }
    });
  });

  it('grows with its device and keeps its files', async () => {
    await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint, grow }) => {
      await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
      await mountFileSystem(device, mountPoint, { type });
      await writeFile(join(mountPoint, 'a'), 'kept');
      if (type === 'ext4') await unmountFileSystem(mountPoint);
      await grow(4 * SIZE_BYTES);
      await growFileSystem(device, type === 'ext4' ? { type } : { type, mountPoint });
      if (type === 'ext4') await mountFileSystem(device, mountPoint, { type });
      expect((await fileSystemUsage(mountPoint)).totalBytes).toBeGreaterThan(3.4 * SIZE_BYTES);
      expect(await readFile(join(mountPoint, 'a'), 'utf8')).toBe('kept');
    });
  });
});
