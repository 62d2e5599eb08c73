// SPDX-License-Identifier: Apache-2.0
// --via fuse-ring: requests over io_uring. It serves as the others do, and its device ends with its worker, cleanly.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { takeSnapshot } from '../../src/attach/operations.js';
import { upgradeAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { resizeImage } from '../../src/filesystem/image/resize.js';
import { native } from '../../src/native/index.js';
import { switchFuseRing } from '../helpers/fuse-ring.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage, hostBytes } from './device.js';

const MIB = 2 ** 20;
const VERIFY = ['--name=verify', '--ioengine=io_uring', '--direct=1', '--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'];

/** Bytes since the device is there. */
async function written(device: string): Promise<number> {
  const fields = (await readFile(`/sys/block/${device.slice('/dev/'.length)}/stat`, 'utf8')).trim().split(/\s+/);
  return Number(fields[6]) * 512;
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'fio', 'fuse-ring'))('a device over a ring', () => {
  let scratch: Scratch;
  let image: Attached;
  let restore: () => Promise<void>;

  const attachAgain = (dir: string): Promise<Attached> => attach(scratch, dir, { via: 'fuse-ring' });

  beforeEach(async () => {
    scratch = await makeScratch();
    restore = await switchFuseRing('Y');
    image = await attachAgain(await createImage(scratch, 'image', 256 * MIB));
  });
  afterEach(async () => {
    await scratch.clean();
    await restore();
  });

  const stateOf = async (): Promise<string | undefined> =>
    (await listAttachments({ runDir: scratch.runDir })).find((one) => one.directory === image.dir)?.state;
  const killWorker = async (): Promise<void> => {
    process.kill(image.worker, 'SIGKILL');
    await expect.poll(stateOf, { timeout: 20_000, interval: 20 }).toBe('dead');
  };

  it('holds what is written to it in all sizes at once, while a snapshot is taken', async () => {
    expect(image.via).toBe('fuse-ring');
    const fio = spawn(
      'fio',
      [...VERIFY, `--filename=${image.device}`, '--rw=randwrite', '--bsrange=4k-1m', '--iodepth=64', '--size=128M'],
      {
        stdio: 'ignore',
      },
    );
    const ended = once(fio, 'exit') as Promise<[number | null]>;
    await takeSnapshot(image.dir, { runDir: scratch.runDir });
    expect(await ended).toEqual([0, null]);
    await image.detach();
    expect(await stateOf()).toBeUndefined();
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('discards, and grows while it is in use', async () => {
    await run('dd', ['if=/dev/urandom', `of=${image.device}`, 'bs=1M', 'count=32', 'oflag=direct', 'status=none']);
    await run('blkdiscard', [image.device]);
    await run('cmp', ['-n', String(32 * MIB), '/dev/zero', image.device]);
    await run('mkfs.ext4', ['-q', image.device]);
    expect(await hostBytes(image.dir)).toBeLessThan(16 * MIB);
    await resizeImage(image.dir, { sizeBytes: 512 * MIB });
    expect((await run('blockdev', ['--getsize64', image.device])).stdout.trim()).toBe(String(512 * MIB));
  });

  it('fails when its worker is killed; what was flushed is there after attaching again', async () => {
    const mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await run('mkfs.ext4', ['-q', image.device]);
    await run('mount', [image.device, mountPoint]);
    await writeFile(join(mountPoint, 'flushed'), 'a'.repeat(100_000), { flush: true });
    const load = run(
      'fio',
      [
        '--name=load',
        `--filename=${join(mountPoint, 'load')}`,
        '--ioengine=io_uring',
        '--direct=1',
        '--rw=randwrite',
        '--bs=4k',
        '--iodepth=32',
      ].concat(['--size=64M', '--time_based', '--runtime=60']),
      { accept: 'any' },
    );
    await expect.poll(() => written(image.device), { timeout: 20_000 }).toBeGreaterThan(16 * MIB);
    await killWorker();
    expect((await load).exitCode).not.toBe(0); // EIO, long before its time
    await expect(attachAgain(image.dir)).rejects.toMatchObject({ code: 'MOUNTED' });
    await run('umount', [mountPoint]);
    image = await attachAgain(image.dir);
    await run('fsck.ext4', ['-fy', image.device], { accept: [0, 1] });
    await run('mount', [image.device, mountPoint]);
    await run('cmp', [join(mountPoint, 'flushed'), '-'], { input: 'a'.repeat(100_000) });
    await run('umount', [mountPoint]);
    await image.detach();
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('keeps what was acknowledged and never flushed when its worker is killed', async () => {
    const data = randomBytes(8 * MIB);
    await writeFile(scratch.path('data'), data);
    await run('dd', [`if=${scratch.path('data')}`, `of=${image.device}`, 'bs=64k', 'oflag=direct', 'status=none']);
    await killWorker();
    await image.detach();
    expect(await stateOf()).toBeUndefined();
    image = await attachAgain(image.dir);
    await run('cmp', ['-n', String(data.length), scratch.path('data'), image.device]);
  });

  it('goes on when its keeper is killed', async () => {
    process.kill(image.keeper, 'SIGKILL');
    await expect.poll(stateOf).toBe('orphan');
    await run('fio', [...VERIFY, `--filename=${image.device}`, '--rw=randwrite', '--bs=4k', '--size=4M']);
    await image.detach();
    expect((await native.check(image.dir)).findings).toEqual([]);
  });

  it('is not handed to another worker: an upgrade is refused, a signal for it ignored', async () => {
    await expect(upgradeAttachment(image, { runDir: scratch.runDir })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('Detach the image') as string,
    });
    process.kill(image.worker, 'SIGUSR2');
    await expect.poll(async () => readFile(join(image.folder, 'log'), 'utf8')).toContain('SIGUSR2 ignored');
    await run('fio', [...VERIFY, `--filename=${image.device}`, '--rw=randwrite', '--bs=4k', '--size=4M']);
    expect(await image.state()).toMatchObject({ state: 'running', worker: image.worker, restarts: 0 });
  });

  it('is refused where the host has it switched off, with the way out', async () => {
    const dir = await createImage(scratch, 'other', 16 * MIB);
    const again = await switchFuseRing('N');
    try {
      await expect(attachAgain(dir)).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringContaining('switched off') as string,
        hint: expect.stringMatching(/echo Y > .*enable_uring.*--via fuse/) as string,
      });
    } finally {
      await again();
    }
    expect(await listAttachments({ runDir: scratch.runDir })).toHaveLength(1);
  });
});
