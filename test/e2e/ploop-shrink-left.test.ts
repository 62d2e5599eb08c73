// SPDX-License-Identifier: Apache-2.0
// What a killed shrink leaves beside an image goes with the next command, also when the host was started anew since.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const MIB = 1024 * 1024;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('what a killed shrink leaves', () => {
  let scratch: Scratch;
  let image: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    image = scratch.path('image');
    await newImage(image, { sizeBytes: 256 * MIB, fs: 'ext4' });
    const script = `
      import { resizeImage } from './src/filesystem/image/resize.ts';
      const onStep = (step) => step === 'file system' && process.kill(process.pid, 'SIGKILL');
      await resizeImage(process.argv[1], { sizeBytes: ${128 * MIB}, onStep });`;
    await run('npx', ['tsx', '--input-type=module', '-e', script, image], { accept: 'any' });
    expect((await listSnapshots(image)).map(({ name }) => name)).toEqual(['ploop-aside']);
  });
  afterEach(() => scratch.clean());

  const interrupted = async (...options: string[]): Promise<boolean> => {
    const outcome = await ploop('check', image, '--json', ...options);
    expect(outcome).toMatchObject({ status: 0 });
    expect(differences('ploop check', outcome.json())).toEqual([]);
    return outcome.json<{ interrupted: boolean }>().interrupted;
  };
  /** As after a start of the host: nothing is attached, and what was in the run directory is gone. */
  const restart = async (): Promise<void> => {
    for (const one of await listAttachments({ runDir: scratch.runDir })) await detachAttachment(one, { runDir: scratch.runDir });
    await rm(join(scratch.runDir, 'temporary'), { recursive: true });
  };
  const clean = async (): Promise<void> => {
    expect(await listSnapshots(image)).toEqual([]);
    expect(await readdir(image)).not.toContain('aside');
  };

  it('is named by check, and taken away by a repair', async () => {
    await restart();
    expect(await interrupted()).toBe(true);
    expect((await ploop('check', image)).stdout).toContain('ploop-aside');
    expect(await interrupted('--repair')).toBe(false);
    await clean();
  });

  it('goes with a repair while its clone is still attached', async () => {
    expect(await interrupted('--repair')).toBe(false);
    await clean();
    expect(await listAttachments({ runDir: scratch.runDir })).toEqual([]);
  });

  it('goes with the next mount, whose attachment merges the layer', async () => {
    await restart();
    const place = scratch.path('mnt');
    await mkdir(place);
    expect(await ploop('mount', image, place)).toMatchObject({ status: 0 });
    await clean();
    for (const { id } of (await ploop('jobs', image, '--json')).json<{ jobs: { id: string }[] }>().jobs)
      await ploop('jobs', image, '--wait', id);
    expect((await ploop('info', image, '--json')).json<{ layers: unknown[] }>().layers).toHaveLength(1);
    expect(await ploop('umount', place)).toMatchObject({ status: 0 });
    expect(await interrupted()).toBe(false);
  });

  it('stays while somebody works with the clone, perhaps on another host', async () => {
    await rm(join(scratch.runDir, 'temporary'), { recursive: true });
    expect(await ploop('compact', image)).toMatchObject({ status: 0 });
    expect(await readdir(image)).toContain('aside');
    expect(await listSnapshots(image)).toHaveLength(1);
  });
});
