// SPDX-License-Identifier: Apache-2.0
// The clean-up of the tests themselves: whatever a test that failed has left, nothing of it stays.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { readMounts } from '../../src/attach/mounts.js';
import { run } from '../../src/exec/run.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage } from './device.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('what a test has left', () => {
  async function mounted(scratch: Scratch): Promise<Attached> {
    const image = await attach(scratch, await createImage(scratch, 'image', 64 * 2 ** 20));
    await run('mkfs.ext4', ['-q', image.device]);
    await mkdir(scratch.path('mnt'));
    await run('mount', [image.device, scratch.path('mnt')]);
    return image;
  }

  async function expectNothing(scratch: Scratch, image: Attached): Promise<void> {
    expect((await readMounts()).filter((mount) => mount.mountPoint.startsWith(scratch.directory))).toEqual([]);
    const attached = (await run('losetup', ['--noheadings', '--output', 'BACK-FILE'])).stdout;
    expect(attached).not.toContain(`ploop:${image.attachment}`);
    expect(attached).not.toContain(scratch.directory);
    expect(existsSync(scratch.directory)).toBe(false);
  }

  it('is taken down when a process is in a mounted image whose daemon was killed', async () => {
    const scratch = await makeScratch();
    const image = await mounted(scratch);
    const inside = spawn('sleep', ['1000'], { cwd: scratch.path('mnt'), stdio: 'ignore' });
    await once(inside, 'spawn');
    const ended = once(inside, 'exit');
    await endPloopd(image.keeper, image.worker);
    await scratch.clean();
    await ended;
    await expectNothing(scratch, image);
  });

  it('is taken down with a loop device and mounts in the image', async () => {
    const scratch = await makeScratch();
    const image = await mounted(scratch);
    const file = scratch.path('mnt/disk.raw');
    await run('truncate', ['-s', '16M', file]);
    await run('mkfs.ext4', ['-q', file]);
    await mkdir(scratch.path('mnt/inner'));
    await run('mount', ['-o', 'loop', file, scratch.path('mnt/inner')]);
    await scratch.clean();
    await expectNothing(scratch, image);
  });

  it('is taken down when nobody can tell what is attached', async () => {
    const scratch = await makeScratch();
    const image = await mounted(scratch);
    await writeFile(join(image.folder, 'state.json'), 'torn');
    await scratch.clean();
    await expectNothing(scratch, image);
  });
});
