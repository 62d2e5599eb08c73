// SPDX-License-Identifier: Apache-2.0
// --via: how the device of an image is made, as far as this machine has the ways. The others run in guests (guest-attach-*).
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { ploop, startCommand } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { createImage } from './device.js';

const INVALID_ARGUMENT = 2;

describe.skipIf(lacks('root', 'fuse', 'loop'))('the way to make the device', () => {
  let scratch: Scratch;
  let dir: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    dir = await createImage(scratch, 'image', 64 * 2 ** 20);
  });
  afterEach(() => scratch.clean());

  it('is shown by attach, info, list and state.json', async () => {
    const attached = (await ploop('attach', dir, '--via', 'fuse', '--json')).json<{ via: string; device: string }>();
    expect(attached).toMatchObject({ via: 'fuse', device: expect.stringMatching(/^\/dev\/loop\d+$/) as string });
    expect((await ploop('info', dir, '--json')).json<{ attachments: unknown[] }>().attachments).toMatchObject([{ via: 'fuse' }]);
    expect((await ploop('list')).stdout).toMatch(new RegExp(`^${attached.device} +fuse +running`, 'm'));
    expect((await ploop('info', dir)).stdout).toContain(`${attached.device} (fuse)`);
    await ploop('detach', dir);
  });

  it.skipIf(existsSync('/sys/module/nbd'))('is refused where the host does not have it, with the way out, and leaves nothing', async () => {
    const refused = await ploop('attach', dir, '--via', 'nbd', '--json');
    expect(refused.json()).toMatchObject({ error: { code: 'UNSUPPORTED', hint: expect.stringContaining('modprobe nbd') as string } });
    expect(await listAttachments()).toEqual([]);
    expect((await ploop('attach', dir)).status).toBe(0);
    await ploop('detach', dir);
  });

  it("has the host's default in PLOOP_VIA, which a command's own word beats", async () => {
    const wrong = await startCommand('ploop', ['attach', dir], { PLOOP_VIA: 'smoke' }).ended;
    expect(wrong).toMatchObject({ status: INVALID_ARGUMENT, stderr: expect.stringContaining("PLOOP_VIA: 'smoke'") as string });
    const beaten = await startCommand('ploop', ['attach', dir, '--via', 'fuse', '--json'], { PLOOP_VIA: 'nbd' }).ended;
    expect(beaten.json()).toMatchObject({ via: 'fuse' });
    await ploop('detach', dir);
  });

  it('is detached by its name, or by that of an image, which may be kept below /dev as well', async () => {
    const shm = await mkdtemp('/dev/shm/ploop-test-');
    try {
      await cp(dir, join(shm, 'image'), { recursive: true });
      await ploop('attach', join(shm, 'image'));
      expect((await ploop('detach', join(shm, 'image'))).status).toBe(0);
      expect((await ploop('detach', '/dev/ploop-none')).stderr).toContain('is not a device of an attached image');
      expect(await listAttachments()).toEqual([]);
    } finally {
      for (const one of await listAttachments()) await ploop('detach', one.device ?? '');
      await rm(shm, { recursive: true });
    }
  });
});
