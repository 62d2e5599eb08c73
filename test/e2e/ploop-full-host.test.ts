// SPDX-License-Identifier: Apache-2.0
// A host file system that fills up: during create, and under an attached image that is being written to.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rm, statfs, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

/** A host file system of 24 MiB. */
async function withSmallHost(work: (host: string) => Promise<void>): Promise<void> {
  await withLoopDisk(24 * MIB, async ({ device, mountPoint }) => {
    await run('mkfs.ext4', ['-q', '-m', '0', device]);
    await run('mount', [device, mountPoint]);
    try {
      await work(mountPoint);
    } finally {
      await endAttachments();
    }
  });
}

/** What a failed test has left waiting would wait for ever. */
async function endAttachments(): Promise<void> {
  for (const one of await listAttachments()) {
    await control(one, 'set', { onFull: 'error' }).catch(() => undefined);
    await detachAttachment(one).catch(() => undefined);
  }
}

async function fill(host: string): Promise<void> {
  const { bavail, bsize } = await statfs(host);
  const file = await open(`${host}/filler`, 'w');
  await file.writeFile(Buffer.alloc(bavail * bsize)).catch(() => undefined);
  await file.close();
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('a full host', () => {
  it('lets create fail with NO_SPACE, and nothing is left', async () => {
    await mkdir(scratch.path('source'));
    await writeFile(scratch.path('source/big'), randomBytes(40 * MIB));
    await withSmallHost(async (host) => {
      const dir = `${host}/image`;
      const made = await ploop('create', dir, '--size', '1G', '--from', scratch.path('source'), '--json');
      expect(made.json<{ error: { code: string } }>().error.code).toBe('NO_SPACE');
      expect(made.status).toBe(14);
      expect(existsSync(dir)).toBe(false);
      await fill(host);
      expect(await ploop('create', dir, '--size', '1G', '--fs', 'none')).toMatchObject({ status: 14 });
      expect(existsSync(dir)).toBe(false);
    });
    expect(await listAttachments()).toEqual([]);
  });

  it('fails writes with --on-full error; the image opens again, checks clean and has what was flushed', async () => {
    await withSmallHost(async (host) => {
      const dir = `${host}/image`;
      const flushed = randomBytes(4 * MIB);
      const device = await attached(dir, '--on-full', 'error');
      const disk = await open(device, 'r+');
      await disk.write(flushed, 0, flushed.length, 0);
      await disk.sync();
      await disk.write(randomBytes(40 * MIB), 0, 40 * MIB, 100 * MIB);
      await expect(disk.sync()).rejects.toMatchObject({ code: expect.stringMatching(/EIO|ENOSPC/) as string });
      await disk.close();
      expect((await ploop('detach', dir)).status).toBe(0);
      expect(await ploop('check', dir)).toMatchObject({ status: 0 });
      expect((await contentOf(dir, flushed.length)).equals(flushed)).toBe(true);
    });
  });

  it('lets a deletion fail with the way out, and the same command goes on later', async () => {
    await withSmallHost(async (host) => {
      const dir = `${host}/image`;
      const device = await attached(dir);
      const disk = await open(device, 'r+');
      const written = randomBytes(8 * MIB);
      for (const half of [0, 1]) {
        await disk.write(written, half * 4 * MIB, 4 * MIB, half * 4 * MIB);
        await disk.sync();
        await ploop('snapshot', dir, '--name', `s${half}`);
      }
      await disk.close();
      await fill(host);
      const refused = await ploop('snapshot-delete', dir, 's0');
      expect(refused).toMatchObject({ status: 14, stderr: expect.stringMatching(/No space left[\s\S]*ploop compact/) as string });
      expect((await ploop('compact', dir)).status).toBe(0);
      await rm(`${host}/filler`);
      expect(await ploop('snapshot-delete', dir, 's0')).toMatchObject({ status: 0 });
      expect((await ploop('detach', dir)).status).toBe(0);
      expect(await ploop('check', dir)).toMatchObject({ status: 0 });
      expect((await contentOf(dir, written.length)).equals(written)).toBe(true);
    });
  });
});

async function attached(dir: string, ...options: string[]): Promise<string> {
  await ploop('create', dir, '--size', '1G', '--fs', 'none');
  return (await ploop('attach', dir, ...options, '--json')).json<{ device: string }>().device;
}

async function contentOf(dir: string, length: number): Promise<Buffer> {
  await using reader = await native.openReader(dir);
  return reader.read(0, length);
}
