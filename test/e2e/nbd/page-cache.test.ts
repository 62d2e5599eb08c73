// SPDX-License-Identifier: Apache-2.0
// Which way an image's data go: through the host's page cache where no device is on them, beside it where one is.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../../src/attach/attachments.js';
import { unexportImage } from '../../../src/attach/exports.js';
import { ploop } from '../../helpers/command.js';
import { lacks } from '../../helpers/require.js';
import type { Places } from '../../helpers/scratch.js';
import { attach, killWorkerOf } from '../device.js';
import { client, exported, imagePerTest, MIB } from './exported.js';

const O_DIRECT = 0o40000;

/** The ways in which a process has layers open. */
async function ways(pid: number): Promise<Set<string>> {
  const found = new Set<string>();
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(join(`/proc/${pid}/fd`, fd)).catch(() => '');
    if (!target.endsWith('.plp')) continue;
    const flags = /^flags:\s+([0-7]+)$/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    found.add((parseInt(flags, 8) & O_DIRECT) === 0 ? 'cached' : 'direct');
  }
  return found;
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'libnbd', 'qemu-img'))('the data of an image that is exported', () => {
  let scratch: Places;
  let dir: string;
  imagePerTest(16 * MIB, (made, places) => void ([dir, scratch] = [made, places]));

  const worker = async (): Promise<number> => (await listAttachments({ runDir: scratch.runDir }))[0]?.worker ?? 0;

  it('go through the page cache alone while it is detached: also after a snapshot, its deletion and a new worker', async () => {
    const { uri } = await exported(scratch, dir);
    const writeAndRead = async (byte: number): Promise<void> => {
      const ends = ['-c', `write -P ${byte} 64k 64k`, '-c', 'flush', '-c', `read -P ${byte} 64k 64k`];
      await client('qemu-io', '-f', 'raw', ...ends, uri);
      expect(await ways(await worker())).toEqual(new Set(['cached']));
    };
    await writeAndRead(1);
    expect((await ploop('snapshot', dir, '--name', 'then')).status).toBe(0);
    await writeAndRead(2);
    expect((await ploop('snapshot-delete', dir, 'then')).status).toBe(0);
    await writeAndRead(3);
    await killWorkerOf(dir);
    await client('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 3 64k 64k', uri);
    await writeAndRead(4);
    await unexportImage(dir, { runDir: scratch.runDir });
  });

  it('bypass it beside a block device', async () => {
    const image = await attach(scratch, dir);
    await exported(scratch, dir);
    expect(await ways(await worker())).toContain('direct');
    await image.detach();
  });
});
