// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { freezeFileSystem, withFrozen } from '../../src/filesystem/freeze.js';
import { makeFileSystem } from '../../src/filesystem/make.js';
import { mountFileSystem } from '../../src/filesystem/mount.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';

const SIZE_BYTES = 320 * 1024 * 1024;

function canWrite(mountPoint: string): boolean {
  return spawnSync('timeout', ['-s', 'KILL', '1', 'touch', join(mountPoint, 'x')]).status === 0;
}

async function withMounted(type: 'ext4' | 'xfs', work: (mountPoint: string) => Promise<void>): Promise<void> {
  await withLoopDisk(SIZE_BYTES, async ({ device, mountPoint }) => {
    await makeFileSystem(device, { type, sizeBytes: SIZE_BYTES, fresh: true });
    await mountFileSystem(device, mountPoint, { type });
    try {
      await work(mountPoint);
    } finally {
      // Whatever a test left: a frozen file system cannot be unmounted.
      spawnSync('fsfreeze', ['-u', mountPoint], { stdio: 'ignore' });
    }
  });
}

describe.skipIf(lacks('root', 'loop', 'ext4', 'xfs'))('freezing', () => {
  it.each(['ext4', 'xfs'] as const)('holds back writes to %s until the thaw', async (type) => {
    await withMounted(type, async (mountPoint) => {
      const frozen = await freezeFileSystem(mountPoint);
      // Not even SIGKILL ends a write that waits for the thaw.
      let written = false;
      const writing = run('touch', [join(mountPoint, 'x')]).then(() => (written = true));
      await sleep(400);
      expect(written).toBe(false);
      const { frozenMs } = await frozen.thaw();
      await writing;
      expect(frozenMs).toBeGreaterThan(390);
      expect(await frozen.thaw()).toEqual({ frozenMs });
      expect(canWrite(mountPoint)).toBe(true);
    });
  });

  it('is over when the work failed', async () => {
    await withMounted('ext4', async (mountPoint) => {
      await expect(withFrozen(mountPoint, () => Promise.reject(new Error('no luck')))).rejects.toThrow('no luck');
      expect(canWrite(mountPoint)).toBe(true);
    });
  });

  it('ends by itself after its limit, and says that the work came too late', async () => {
    await withMounted('ext4', async (mountPoint) => {
      const late = withFrozen(mountPoint, () => sleep(600), { maxMs: 200 });
      await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('was thawed after 200 ms') as string });
      expect(canWrite(mountPoint)).toBe(true);
    });
  });

  it('ends with its process, even when that is killed', async () => {
    await withMounted('ext4', async (mountPoint) => {
      const script = `
        import { run } from '../../src/exec/run.js';
import { freezeFileSystem } from './src/filesystem/freeze.ts';
        await freezeFileSystem(process.argv[1]);
        process.kill(process.pid, 'SIGKILL');`;
      expect(() => execFileSync('npx', ['tsx', '--input-type=module', '-e', script, mountPoint], { stdio: 'pipe' })).toThrow();
      await sleep(200);
      expect(canWrite(mountPoint)).toBe(true);
    });
  });

  it('says when somebody else holds it frozen', async () => {
    await withMounted('ext4', async (mountPoint) => {
      const frozen = await freezeFileSystem(mountPoint);
      await expect(freezeFileSystem(mountPoint)).rejects.toMatchObject({ code: 'BUSY' });
      await frozen.thaw();
    });
  });

  it('makes everything written durable: a copy of the disk needs no journal', async () => {
    await withMounted('ext4', async (mountPoint) => {
      writeFileSync(join(mountPoint, 'f'), 'content');
      await withFrozen(mountPoint, async () => {
        const source = execFileSync('findmnt', ['-no', 'SOURCE', mountPoint], { encoding: 'utf8' }).trim();
        expect(execFileSync('dumpe2fs', ['-h', source], { encoding: 'utf8', stdio: 'pipe' })).not.toContain('needs_recovery');
      });
    });
  });

  it('refuses what cannot be frozen', async () => {
    await expect(freezeFileSystem('/proc')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(freezeFileSystem('/no/such/place')).rejects.toMatchObject({ code: 'TOOL_FAILED' });
  });
});
