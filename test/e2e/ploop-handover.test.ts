// SPDX-License-Identifier: Apache-2.0
// `ploop copy --live --handover`: what the command finds, and what becomes of the source when it fails.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { CopiedImage } from '../../src/stream/copy.js';
import { ploop, startCommand } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('a hand-over', () => {
  let scratch: Scratch;
  let src: string;
  let dst: string;
  let mountPoint: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    [src, dst, mountPoint] = [scratch.path('src'), scratch.path('dst'), scratch.path('mnt')];
    await mkdir(mountPoint);
    await ploop('create', src, '--size', '64M');
    expect(await ploop('mount', src, mountPoint)).toMatchObject({ status: 0 });
    await writeFile(join(mountPoint, 'file'), 'before');
  });
  afterEach(async () => {
    await ploop('umount', mountPoint);
    await scratch.clean();
  });

  const copy = (handover: string, ...more: string[]): ReturnType<typeof ploop> =>
    ploop('copy', src, dst, '--live', '--handover', handover, ...more);
  const writable = (): Promise<void> => writeFile(join(mountPoint, 'file'), 'after');

  it('finds the copy complete and the source frozen, and is told where both are', async () => {
    const note = scratch.path('note');
    const frozen = `fsfreeze --freeze "$PLOOP_MOUNT_POINT" 2>&1 | grep -c busy`;
    const complete = `test -f "$PLOOP_DESTINATION/image.json" && test -f "$PLOOP_SOURCE/image.json" && echo complete`;
    const outcome = await copy(`(${frozen}; ${complete}) > ${note}; echo started there >&2`, '--keep', 'base');
    expect(outcome).toMatchObject({ status: 0, stderr: expect.stringContaining('handed over: started there') as string });
    const again = await copy('true', '--json');
    expect(differences('ploop copy', again.json())).toEqual([]);
    expect(again.json<CopiedImage>().pauseMs).toBeGreaterThan(0);
    expect(await readFile(note, 'utf8')).toBe('1\ncomplete\n');
    await writable();
  });

  it('that fails leaves the source thawed, and the same command goes on', async () => {
    const outcome = await copy('echo no room >&2; exit 3');
    expect(outcome).toMatchObject({ status: 20 });
    expect(outcome.stderr).toMatch(/the hand-over failed, and the source goes on.*status 3.*no room/s);
    await writable();
    expect(await copy('true')).toMatchObject({ status: 0 });
    await ploop('umount', mountPoint);
    expect(await ploop('mount', dst, mountPoint)).toMatchObject({ status: 0 });
    expect(await readFile(join(mountPoint, 'file'), 'utf8')).toBe('after');
  });

  it('that takes too long is ended with the freeze', async () => {
    const outcome = await copy('sleep 600', '--max-pause', '2');
    expect(outcome.status).not.toBe(0);
    expect(outcome.stderr).toContain('the hand-over failed');
    await writable();
  });

  it('that is interrupted ends, and the source is thawed', async () => {
    const note = scratch.path('note');
    const started = startCommand('ploop', ['copy', src, dst, '--live', '--handover', `echo here > ${note}; sleep 600`, '--json']);
    await expect.poll(() => readFile(note, 'utf8').catch(() => ''), { timeout: 20_000 }).toBe('here\n');
    started.signalGroup('SIGINT');
    expect(await started.ended).toMatchObject({ status: 130 });
    await writable();
  });

  it('is refused without --live', async () => {
    const outcome = await ploop('copy', src, dst, '--handover', 'true');
    expect(outcome).toMatchObject({ status: 2 });
    expect(outcome.stderr).toContain('--live');
  });
});
