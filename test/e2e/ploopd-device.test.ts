// SPDX-License-Identifier: Apache-2.0
// What the attached device is like: sizes, discard, read-only, hidden mount, who may detach it when.
import { open, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, createImage, hostBytes } from './device.js';

const MIB = 2 ** 20;

describe.skipIf(lacks('root', 'fuse', 'loop'))('an attached device', () => {
  let scratch: Scratch;
  let dir: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    dir = await createImage(scratch, 'image', 256 * MIB);
  });
  afterEach(() => scratch.clean());

  const queue = async (device: string, name: string): Promise<number> =>
    Number(await readFile(`/sys/block/${basename(device)}/queue/${name}`, 'utf8'));
  const write = (device: string, mib: number): Promise<unknown> =>
    run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', `count=${mib}`, 'oflag=direct', 'conv=fsync,notrunc', 'status=none']);

  it('has direct I/O, 512-byte sectors and 4 KiB discard, or 4 KiB sectors on request', async () => {
    let image = await attach(scratch, dir);
    expect(await queue(image.device, 'logical_block_size')).toBe(512);
    expect(await queue(image.device, 'discard_granularity')).toBe(4096);
    expect((await run('losetup', ['-nO', 'DIO', image.device])).stdout.trim()).toBe('1');
    await image.detach();
    image = await attach(scratch, dir, { sectorSizeBytes: 4096 });
    expect(await queue(image.device, 'logical_block_size')).toBe(4096);
  });

  it('holds nobody up who lists loop devices while its worker hangs', async () => {
    const image = await attach(scratch, dir);
    await write(image.device, 1);
    process.kill(image.worker, 'SIGSTOP');
    try {
      const listed = await run('losetup', ['-nO', 'BACK-FILE', image.device], { timeoutMs: 20_000 });
      expect(listed.stdout).toContain('/ploop:');
    } finally {
      process.kill(image.worker, 'SIGCONT');
    }
  });

  it('gives host space back on discard and on write-zeroes, and reads zeros', async () => {
    const image = await attach(scratch, dir);
    await write(image.device, 64);
    const full = await hostBytes(dir);
    expect(full).toBeGreaterThan(64 * MIB);
    await run('blkdiscard', ['-f', '-o', String(4 * MIB), '-l', String(30 * MIB), image.device]);
    await run('sync', [image.device]);
    expect(await hostBytes(dir)).toBeLessThan(full - 30 * MIB + MIB);
    await run('blkdiscard', ['-f', '-z', '-o', String(34 * MIB), '-l', String(30 * MIB), image.device]);
    await run('sync', [image.device]);
    expect(await hostBytes(dir)).toBeLessThan(full - 60 * MIB + MIB);
    await run('cmp', ['-n', String(60 * MIB), `--ignore-initial=${4 * MIB}:0`, image.device, '/dev/zero']);
    expect(await queue(image.device, 'discard_max_bytes')).toBeGreaterThan(0);
  });

  it('works with mkfs, fstrim and fsck of ext4 and xfs', async () => {
    const mountPoint = scratch.path('mnt');
    await run('mkdir', [mountPoint]);
    for (const [mkfs, check] of [
      [
        ['mkfs.ext4', '-q'],
        ['fsck.ext4', '-fn'],
      ],
      [
        ['mkfs.xfs', '-qf'],
        ['xfs_repair', '-n'],
      ],
    ] as const) {
      const image = await attach(scratch, await createImage(scratch, mkfs[0], 512 * MIB));
      await run(mkfs[0], [mkfs[1], image.device]);
      await run('mount', [image.device, mountPoint]);
      await run('cp', ['-r', '/usr/share/doc', mountPoint]);
      await run('sync', ['-f', mountPoint]);
      const full = await hostBytes(image.dir);
      await run('rm', ['-r', join(mountPoint, 'doc')]);
      // What a transaction freed may be trimmed when the transaction is on disk.
      await run('sync', ['-f', mountPoint]);
      await run('fstrim', [mountPoint]);
      await run('umount', [mountPoint]);
      expect(await hostBytes(image.dir)).toBeLessThan(full / 2);
      await run(check[0], [check[1], image.device]);
      await image.detach();
      expect((await native.check(image.dir)).findings).toEqual([]);
    }
  });

  it('refuses writes and discards when attached read-only', async () => {
    const image = await attach(scratch, dir, { readOnly: true });
    expect((await run('blockdev', ['--getro', image.device])).stdout.trim()).toBe('1');
    await expect(write(image.device, 1)).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    await expect(run('blkdiscard', ['-f', image.device])).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    const attachment = await findAttachment(dir, { runDir: scratch.runDir });
    if (attachment === null) throw new Error('not attached');
    await expect(control(attachment, 'snapshot', {})).rejects.toMatchObject({ code: 'READ_ONLY' });
  });

  it('is in no mount table and goes away with losetup -d', async () => {
    const image = await attach(scratch, dir);
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(image.attachment);
    await run('losetup', ['-d', image.device]);
    await expect.poll(() => readdir(scratch.runDir)).toEqual([]);
    expect((await native.check(dir)).findings).toEqual([]);
  });

  it('is not attached twice, and not detached while something has it open', async () => {
    const image = await attach(scratch, dir);
    await expect(attach(scratch, dir)).rejects.toMatchObject({
      code: 'ATTACHED',
      message: expect.stringMatching(new RegExp(`as ${image.device} \\(ploopd pid ${image.keeper}, since 20`)) as string,
    });
    const holder = await open(image.device);
    await expect(control(await found(), 'quit', {})).rejects.toMatchObject({ code: 'BUSY' });
    await expect(detachSoon(image.attachment)).rejects.toMatchObject({ code: 'MOUNTED' });
    await holder.close();
    await write(image.device, 1);
    await image.detach();
  });

  const found = async (): Promise<NonNullable<Awaited<ReturnType<typeof findAttachment>>>> => {
    const attachment = await findAttachment(dir, { runDir: scratch.runDir });
    if (attachment === null) throw new Error('not attached');
    return attachment;
  };
  const detachSoon = async (id: string): Promise<void> => {
    const { detachAttachment } = await import('../../src/attach/ploopd.js');
    await detachAttachment({ attachment: id, device: null, devno: null }, { runDir: scratch.runDir, timeoutMs: 500 });
  };

  it('shows a snapshot beside the top, under one lock that lasts until both are detached', async () => {
    const top = await attach(scratch, dir);
    await write(top.device, 8);
    const sum = async (device: string): Promise<string> => (await run('sha256sum', [device])).stdout.slice(0, 64);
    const before = await sum(top.device);
    const { id } = await control(await found(), 'snapshot', {});
    await write(top.device, 8);
    const snapshot = await attach(scratch, dir, { snapshot: id });
    expect(snapshot).toMatchObject({ attachment: `${top.attachment}@${id}`, readOnly: true });
    expect(await sum(snapshot.device)).toBe(before);
    await snapshot.killWorker();
    await top.detach();
    await expect(native.deleteSnapshot(dir, id)).rejects.toMatchObject({ code: 'BUSY' });
    const again = await attach(scratch, dir);
    await snapshot.detach();
    await expect(native.deleteSnapshot(dir, id)).rejects.toMatchObject({ code: 'BUSY' });
    await again.detach();
    await native.deleteSnapshot(dir, id);
  });

  it('is a file in the run directory with --no-loop', async () => {
    const image = await attach(scratch, dir, { loop: false });
    const file = join(image.folder, 'mnt/disk');
    expect(image.device).toBe('');
    await write(file, 8);
    await expect(run('truncate', ['-s', '1G', file])).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect((await run('stat', ['-c', '%s', file])).stdout.trim()).toBe(String(256 * MIB));
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
    await using reader = await native.openReader(dir);
    expect((await reader.read(0, 4096)).equals(Buffer.alloc(4096))).toBe(false);
  });
});
