// SPDX-License-Identifier: Apache-2.0
// Compaction where a step cannot be made: nothing free inside, or mounted read-only. The others are made, and the reason is said.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import type { CompactedImage } from '../../src/filesystem/image/compact.js';
import { ploop } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('ploop compact', () => {
  it('makes the other steps where the file system is full, and where it is mounted read-only', async () => {
    const dir = scratch.path('image');
    const { mountPoint } = scratch;
    const steps = async (): Promise<CompactedImage['steps']> => {
      const outcome = await ploop('compact', dir, '--json');
      expect(outcome).toMatchObject({ status: 0 });
      return outcome.json<CompactedImage & Record<string, unknown>>().steps;
    };
    await ploop('create', dir, '--size', '64M');
    await ploop('set', dir, '--discard', 'cluster');
    await ploop('mount', dir, mountPoint);
    await writeFile(join(mountPoint, 'big'), Buffer.alloc(34 * MIB, 1));
    for (let at = 0; at < 400; at++) await writeFile(join(mountPoint, `f${at}`), Buffer.alloc(32_768, 1));
    await run('sync', ['-f', mountPoint]);
    for (let at = 0; at < 400; at++) if (at % 8 > 0) await rm(join(mountPoint, `f${at}`));
    await run('sync', ['-f', mountPoint]);
    // All that is free is kept for others, and so there is something to pack, but no room to do it.
    const { stdout: device } = await run('findmnt', ['-no', 'SOURCE', mountPoint]);
    await run('tune2fs', ['-r', '8191', device.trim()]);
    const [trim, pack, , relocate] = await steps();
    expect(trim).toMatchObject({ skipped: null });
    expect(pack?.skipped).toContain('nothing is free in its file system');
    expect(relocate).toMatchObject({ skipped: null });
    await run('mount', ['-o', 'remount,ro', mountPoint]);
    const readOnly = await steps();
    expect(readOnly.slice(0, 2).map(({ skipped }) => skipped)).toEqual(Array(2).fill(`it is mounted read-only on ${mountPoint}`));
    expect(readOnly[3]).toMatchObject({ skipped: null });
  });
});
