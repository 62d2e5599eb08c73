// SPDX-License-Identifier: Apache-2.0
// Containers when things go wrong around them: commands killed at any moment, daemons killed, the host in the way.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import type { ContainerState } from '../../src/container/state.js';
import { run } from '../../src/exec/run.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { withLoopDisk } from '../helpers/loop.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { leftovers, settled, type Vz, withVz } from './vz.js';

async function withStopped(work: (vz: Vz) => Promise<void>): Promise<void> {
  await withVz(async (vz) => {
    await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
    await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '256M');
    await work(vz);
  });
}

async function killDaemons(vz: Vz, which: readonly ('keeper' | 'worker')[]): Promise<void> {
  const [attachment] = await listAttachments({ runDir: vz.runDir });
  await endPloopd(...which.map((one) => attachment?.[one] ?? 0));
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'runtime', 'busybox'))('a container', () => {
  it('starts after a start that was killed at any moment', { timeout: 300_000 }, async () => {
    await withStopped(async (vz) => {
      for (const killAfterMs of [350, 450, 550, 650, 800]) {
        const killed = vz.command('vzctl', ['start', '101'], { signalAfterMs: killAfterMs, signal: 'SIGKILL' });
        expect([0, 137]).toContain((await killed).status);
        await settled(vz);
        const again = await vz.command('vzctl', ['start', '101']);
        expect([0, 25], again.stderr).toContain(again.status);
        expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted running');
        await vz.vzctl('stop', '101', '--fast');
        expect(await leftovers(vz)).toEqual([]);
      }
    });
  });

  it('stops after a stop that was killed at any moment', { timeout: 300_000 }, async () => {
    await withStopped(async (vz) => {
      for (const killAfterMs of [400, 550, 700]) {
        await vz.vzctl('start', '101');
        await vz.command('vzctl', ['stop', '101', '--fast'], { signalAfterMs: killAfterMs, signal: 'SIGKILL' });
        await settled(vz);
        await vz.vzctl('stop', '101', '--fast');
        expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist unmounted down');
        expect(await leftovers(vz)).toEqual([]);
      }
    });
  });

  it('is created after a create that was killed at any moment', { timeout: 300_000 }, async () => {
    await withStopped(async (vz) => {
      const create = ['create', '102', '--ostemplate', 'tiny', '--diskspace', '256M'];
      for (const killAfterMs of [500, 800, 1200]) {
        const { status } = await vz.command('vzctl', create, { signalAfterMs: killAfterMs, signal: 'SIGKILL' });
        // All of it or nothing; killed between the end of its work and its own, it is all.
        const after = await vz.vzctl('status', '102');
        if (status !== 137 || after !== 'CTID 102 deleted unmounted down') {
          expect(after).toBe('CTID 102 exist unmounted down');
          await vz.vzctl('destroy', '102');
        }
        await settled(vz);
        await vz.vzctl(...create);
        await vz.vzctl('destroy', '102');
        expect(await leftovers(vz)).toEqual([]);
      }
    });
  });

  it('does not notice that its worker was killed', async () => {
    await withStopped(async (vz) => {
      await vz.vzctl('start', '101');
      await vz.vzctl('exec', '101', 'dd if=/dev/urandom of=/root/file bs=1M count=3 conv=fsync; sha256sum /root/file > /root/sum');
      await killDaemons(vz, ['worker']);
      await vz.vzctl('exec', '101', 'echo more | dd of=/root/other conv=fsync && sha256sum -c /root/sum');
      const [attachment] = await listAttachments({ runDir: vz.runDir });
      expect(attachment).toMatchObject({ live: true, restarts: 1 });
    });
  });

  it('whose daemons are dead is stopped, and starts with what was flushed', async () => {
    await withStopped(async (vz) => {
      await vz.vzctl('start', '101');
      await vz.vzctl('exec', '101', 'echo flushed | dd of=/root/file conv=fsync');
      await killDaemons(vz, ['keeper', 'worker']);
      await vz.vzctl('stop', '101', '--fast');
      expect(await leftovers(vz)).toEqual([]);
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('flushed');
      // The same with its init gone, too: a start alone has to find out.
      const { pid } = await vz.json<ContainerState>('status', '101');
      await killDaemons(vz, ['keeper', 'worker']);
      process.kill(pid ?? 0, 'SIGKILL');
      await expect.poll(() => vz.vzctl('status', '101')).toBe('CTID 101 exist mounted down');
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('flushed');
    });
  });

  it('is down but mounted while a process of the host sits in it, which is named', async () => {
    await withStopped(async (vz) => {
      await vz.vzctl('start', '101');
      const guest = spawn('sleep', ['60'], { cwd: join(vz.vzRoot, 'root/101'), stdio: 'ignore' });
      const gone = once(guest, 'exit');
      try {
        await once(guest, 'spawn');
        const stop = await vz.command('vzctl', ['stop', '101']);
        expect(stop).toMatchObject({ status: 13, stderr: expect.stringContaining(`sleep 60 (pid ${guest.pid}`) as string });
        expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted down');
      } finally {
        guest.kill();
        await gone;
      }
      expect(await vz.vzctl('stop', '101')).toBe('Container 101 was not running');
      expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist unmounted down');
    });
  });

  it('is not created on a host disk that is too full for it', { timeout: 240_000 }, async () => {
    await withVz(async (vz) => {
      const template = await makeBusyboxTemplate(join(vz.directory, 'tiny.tar'));
      await run('tar', ['--append', `--file=${template.path}`, '-C', '/usr/bin', '.']);
      await withLoopDisk(48 * 1024 ** 2, async ({ device, mountPoint }) => {
        await run('mkfs.ext4', ['-q', device]);
        await run('mount', [device, mountPoint]);
        const vzRoot = join(mountPoint, 'vz');
        const create = ['create', '102', '--vz-root', vzRoot, '--ostemplate', template.path, '--diskspace', '2G'];
        expect(await vz.command('vzctl', create)).toMatchObject({ status: 14 });
        expect(await vz.vzctl('status', '102', '--vz-root', vzRoot)).toBe('CTID 102 deleted unmounted down');
        expect((await run('find', [vzRoot, '-name', '*102*'])).stdout).toBe('');
        expect(await leftovers(vz)).toEqual([]);
      });
    });
  });
});
