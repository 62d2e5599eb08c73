// SPDX-License-Identifier: Apache-2.0
// --on-full pause, the default: writes that wait for room on the host, in sight of everybody, across a killed worker, until there is some.
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { findAttachment, listAttachments, type Attachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { mountPointsOf } from '../../src/attach/mounts.js';
import { detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;
const PATIENCE = { timeout: 30_000 };

const scratch = scratchPerTest();

interface Full {
  dir: string;
  /** What is written to: the device, or a file on it. */
  target: string;
  /** dd onto the target, which does not get through; its outcome. */
  writing: Promise<{ exitCode: number; stderr: string }>;
  content: Buffer;
  makeRoom(): Promise<void>;
}

/** An image on a host file system of 24 MiB that is full, with a write that waits. */
async function withFullHost(work: (full: Full) => Promise<void>, how: { mounted: boolean } = { mounted: false }): Promise<void> {
  await withLoopDisk(24 * MIB, async (disk) => {
    const dir = `${disk.mountPoint}/image`;
    const filler = `${disk.mountPoint}/filler`;
    const content = randomBytes(16 * MIB);
    await writeFile(scratch.path('content'), content);
    await run('mkfs.ext4', ['-q', '-m', '0', disk.device]);
    await run('mount', [disk.device, disk.mountPoint]);
    await ploop('create', dir, '--size', '1G', '--fs', how.mounted ? 'ext4' : 'none');
    const target = how.mounted ? await mounted(dir) : (await ploop('attach', dir, '--json')).json<{ device: string }>().device;
    let writing: Full['writing'] | undefined;
    try {
      await run('fallocate', ['-l', '12M', filler]);
      const options = ['bs=64k', 'oflag=direct', 'conv=fsync,notrunc', 'status=none'];
      writing = run('dd', [`if=${scratch.path('content')}`, `of=${target}`, ...options], { accept: 'any' });
      await expect.poll(async () => (await stats(dir)).full, PATIENCE).toBeGreaterThan(0);
      await work({ dir, target, writing, content, makeRoom: () => rm(filler) });
    } finally {
      // What a failed test has left waiting would wait for ever.
      await rm(filler, { force: true });
      await writing;
      await endAttachment(dir);
    }
  });
}

async function mounted(dir: string): Promise<string> {
  await ploop('mount', dir, scratch.path('mnt'));
  return scratch.path('mnt/file');
}

async function endAttachment(dir: string): Promise<void> {
  const left = await findAttachment(dir);
  if (left === null) return;
  await control(left, 'set', { onFull: 'error' }).catch(() => undefined);
  for (const mountPoint of await mountPointsOf(left.devno ?? '')) await run('umount', [mountPoint], { accept: 'any' });
  await detachAttachment(left).catch(() => undefined);
}

async function attachmentOf(dir: string): Promise<Attachment> {
  const found = await findAttachment(dir);
  if (found === null) throw new Error(`${dir} is not attached`);
  return found;
}

async function stats(dir: string): Promise<{ full: number; fullEvents: number }> {
  return control(await attachmentOf(dir), 'stats', {});
}

async function contentOf(dir: string, length: number): Promise<Buffer> {
  await using reader = await native.openReader(dir);
  return reader.read(0, length);
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('writes to an image on a full host', () => {
  it('wait, are seen to wait, and go on by themselves when there is room', async () => {
    await withFullHost(async ({ dir, writing, content, makeRoom }) => {
      const info = (await ploop('info', dir, '--json')).json<{ attachments: { full: unknown }[] }>();
      expect(info.attachments[0]?.full).toEqual({ requests: 1, since: expect.stringMatching(/^20/) as string });
      expect((await ploop('info', dir)).stdout).toMatch(/the host is full: 1 requests wait since 20/);
      expect((await ploop('list')).stdout).toMatch(/host full/);
      await makeRoom();
      expect((await writing).exitCode).toBe(0);
      expect(await stats(dir)).toMatchObject({ full: 0, fullEvents: 1 });
      expect((await ploop('detach', dir)).status).toBe(0);
      expect(await ploop('check', dir)).toMatchObject({ status: 0 });
      expect((await contentOf(dir, content.length)).equals(content)).toBe(true);
    });
  });

  it('keep what would wait for them from starting, with the way out', async () => {
    await withFullHost(async ({ dir }) => {
      const refused = { status: 14, stderr: expect.stringMatching(/wait for room[^]*--on-full error/) as string };
      expect(await ploop('snapshot', dir)).toMatchObject(refused);
      expect(await ploop('resize', dir, '--size', '2G')).toMatchObject(refused);
      expect(await ploop('compact', dir)).toMatchObject(refused);
      expect(await ploop('detach', dir)).toMatchObject(refused);
    });
  });

  it('of a mounted file system wait too; what would hang with them is refused', async () => {
    await withFullHost(
      async ({ dir, target, writing, makeRoom }) => {
        const refused = { status: 14, stderr: expect.stringMatching(/would wait[^]*--on-full error/) as string };
        expect(await ploop('snapshot', dir)).toMatchObject(refused);
        expect(await ploop('compact', dir)).toMatchObject(refused);
        expect(await ploop('umount', scratch.path('mnt'))).toMatchObject(refused);
        expect(await ploop('umount', dir)).toMatchObject(refused);
        await makeRoom();
        expect((await writing).exitCode).toBe(0);
        await run('cmp', [scratch.path('content'), target]);
        expect((await stats(dir)).full).toBe(0);
        expect(await ploop('umount', dir, '--json')).toMatchObject({ status: 0 });
        expect(await ploop('check', dir)).toMatchObject({ status: 0 });
      },
      { mounted: true },
    );
  });

  it('wait also when the worker is killed, which needs room to go on', async () => {
    await withFullHost(async ({ dir, writing, content, makeRoom }) => {
      const { worker } = await attachmentOf(dir);
      process.kill(worker, 'SIGKILL');
      // A start that is not refused is as good: then the write waits as before.
      await expect
        .poll(async () => {
          const now = await attachmentOf(dir);
          return now.worker !== worker && (now.state === 'running' || /No space left/.test(now.lastError ?? ''));
        }, PATIENCE)
        .toBe(true);
      // More starts that are given up than deaths that are too many; or the one that was not.
      const started = new Set<number>([worker]);
      await expect
        .poll(async () => {
          const now = await attachmentOf(dir);
          started.add(now.worker);
          expect(now.state).not.toBe('stopped');
          return now.state === 'running' || started.size > 6;
        }, PATIENCE)
        .toBe(true);
      await makeRoom();
      expect((await writing).exitCode).toBe(0);
      expect(await attachmentOf(dir)).toMatchObject({ state: 'running', onFull: 'pause', restarts: 1 });
      expect((await ploop('detach', dir)).status).toBe(0);
      expect(await ploop('check', dir)).toMatchObject({ status: 0 });
      expect((await contentOf(dir, content.length)).equals(content)).toBe(true);
    });
  });

  it('fail when told so, also in workers to come', async () => {
    await withFullHost(async ({ dir, target, writing }) => {
      expect((await ploop('set', dir, '--on-full', 'error', '--json')).json()).toMatchObject({ onFull: 'error' });
      expect((await writing).stderr).toMatch(/No space left|Input\/output error/);
      await expect.poll(async () => (await attachmentOf(dir)).onFull, PATIENCE).toBe('error');
      const again = ['if=/dev/urandom', `of=${target}`, 'bs=64k', 'count=640', 'seek=8192', 'oflag=direct', 'status=none'];
      expect((await run('dd', again, { accept: 'any' })).exitCode).toBe(1);
      expect((await ploop('detach', dir)).status).toBe(0);
      expect(await ploop('check', dir)).toMatchObject({ status: 0 });
    });
    expect(await listAttachments()).toEqual([]);
  });
});
