// SPDX-License-Identifier: Apache-2.0
// A write of a killed worker that the storage holds back stays in the kernel. Nobody writes to the image before it has ended, also not
// while an attached snapshot keeps the image's lock.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { takeSnapshot } from '../../src/attach/operations.js';
import { recoverAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { makeStall, type Stall } from '../helpers/stall.js';
import { attach, type Attached, createImage } from './device.js';

const BLOCK = 4096;

describe.skipIf(lacks('root', 'fuse', 'loop', 'blkio'))('a write that outlives its worker', () => {
  const scratch = scratchPerTest();
  let stall: Stall;
  let top: Attached;

  beforeEach(async () => {
    stall = await makeStall(scratch.directory);
    top = await attach(scratch, await createImage(scratch, 'image', 64 * 2 ** 20));
  });
  afterEach(() => stall.end());

  const write = async (letter: string): Promise<void> => {
    const input = letter.repeat(BLOCK);
    await run('dd', [`of=${top.device}`, 'bs=4k', 'iflag=fullblock', 'oflag=direct', 'conv=fdatasync,notrunc', 'status=none'], { input });
  };
  const sum = (text: string): string => createHash('sha256').update(text).digest('hex');
  const readBack = async (): Promise<string> => {
    const { stdout } = await run('sh', ['-c', 'dd if="$0" bs=4k count=1 iflag=direct status=none | sha256sum', top.device]);
    return stdout.slice(0, 64);
  };
  const inFlight = async (): Promise<number> => {
    const attachment = await findAttachment(top.dir, { runDir: scratch.runDir });
    return attachment === null ? 0 : (await control(attachment, 'stats', {})).inflight;
  };
  /** Leaves a write of `letter` in the kernel, and neither keeper nor worker. */
  const leaveWrite = async (letter: string): Promise<void> => {
    await stall.hold(top.worker);
    const writing = write(letter).catch(() => 'failed');
    await expect.poll(inFlight, { timeout: 20_000 }).toBe(1);
    await endPloopd(top.keeper, top.worker);
    expect(await writing).toBe('failed');
  };

  it('is waited for by who attaches beside a snapshot, who is told so after a while', async () => {
    await write('a');
    const { id } = await takeSnapshot(top.dir, { runDir: scratch.runDir });
    await write('b');
    const snapshot = await attach(scratch, top.dir, { snapshot: id });
    await leaveWrite('c');
    const told = {
      code: 'TIMEOUT',
      message: expect.stringMatching(/layers\/.*\.plp: a write of a process that was killed has not ended/) as string,
      hint: expect.stringMatching(/repeat the command/) as string,
    };
    const refused = [attach(scratch, top.dir), attach(scratch, top.dir, { readOnly: true })];
    expect(await Promise.allSettled(refused)).toMatchObject([{ reason: told }, { reason: told }]);
    const patient = attach(scratch, top.dir);
    await stall.release();
    top = await patient;
    await write('d');
    expect(await readBack()).toBe(sum('d'.repeat(BLOCK)));
    await top.detach();
    top = await attach(scratch, top.dir);
    expect(await readBack()).toBe(sum('d'.repeat(BLOCK)));
    await top.detach();
    await snapshot.detach();
    expect((await native.check(top.dir)).findings).toEqual([]);
  });

  it('is waited for by who attaches, detaches, or works on the image alone', async () => {
    await write('a');
    await leaveWrite('b');
    const told = { code: 'TIMEOUT', message: expect.stringMatching(/still in use by I\/O of ploopd .*killed/) as string };
    await expect(native.check(top.dir)).rejects.toMatchObject({ code: 'BUSY' });
    expect(await Promise.allSettled([attach(scratch, top.dir), top.detach()])).toMatchObject([{ reason: told }, { reason: told }]);
    const patient = attach(scratch, top.dir);
    await stall.release();
    top = await patient;
    await write('c');
    expect(await readBack()).toBe(sum('c'.repeat(BLOCK)));
    await top.detach();
    expect((await native.check(top.dir)).findings).toEqual([]);
  });

  // A file, not a device: while no worker serves, the host's losetup would wait as well.
  it('is waited for by the worker of a keeper that took over, which says so and goes on', async () => {
    await top.detach();
    top = await attach(scratch, top.dir, { loop: false });
    top.device = join(top.folder, 'mnt', 'disk');
    await write('a');
    await endPloopd(top.keeper);
    await recoverAttachment(top, { runDir: scratch.runDir });
    await stall.hold(top.worker);
    const writing = write('b');
    await expect.poll(inFlight, { timeout: 20_000 }).toBe(1);
    await endPloopd(top.worker);
    const said = async (): Promise<string | null> => (await top.state()).lastError;
    await expect.poll(said, { timeout: 30_000 }).toMatch(/cannot open the image: .*a write of a process that was killed has not ended/);
    await stall.release();
    await writing;
    expect(await readBack()).toBe(sum('b'.repeat(BLOCK)));
    await top.detach();
    expect((await native.check(top.dir)).findings).toEqual([]);
  });
});
