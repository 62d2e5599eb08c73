// SPDX-License-Identifier: Apache-2.0
// vzctl and vzlist on a small busybox root: the life of a container, what is refused, and what a kill leaves behind.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import type { ContainerRow } from '../../src/container/list.js';
import type { ContainerState } from '../../src/container/state.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { lacks } from '../helpers/require.js';
import { leftovers, type Vz, withVz } from './vz.js';

async function withContainer(work: (vz: Vz) => Promise<void>, start: readonly string[] = []): Promise<void> {
  await withVz(async (vz) => {
    await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
    await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '256M');
    await vz.vzctl('start', '101', ...start);
    await work(vz);
  });
}

const failure = (status: number, text: string) => ({ status, stderr: expect.stringContaining(text) as string });

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'runtime', 'busybox'))('a container', () => {
  it('hands on arguments, input, output and exit status', async () => {
    await withContainer(async (vz) => {
      expect(await vz.command('vzctl', ['exec', '101', 'cat', '-'], { input: 'line\n' })).toMatchObject({ status: 0, stdout: 'line\n' });
      expect(await vz.command('vzctl', ['exec', '101', 'sh', '-c', 'echo "$1 $2" >&2; exit 42', 'x', 'a b', '--json'])).toMatchObject({
        status: 42,
        stdout: '',
        stderr: 'a b --json\n',
      });
      expect(await vz.command('vzctl', ['enter', '101'], { input: 'hostname; exit 3\n' })).toMatchObject({ status: 3, stdout: 'ct101\n' });
    });
  });

  it('is listed with what its runtime says', async () => {
    await withContainer(async (vz) => {
      const lines = (await vz.command('vzlist', [])).stdout.split('\n');
      expect(lines[0]?.split(/\s+/).filter(Boolean)).toEqual(['CTID', 'NPROC', 'STATUS', 'IP_ADDR', 'HOSTNAME']);
      expect(lines[1]).toMatch(/^ *101 +\d+ +running +- +ct101$/);
      const state = await vz.json<ContainerState>('status', '101');
      const [row] = JSON.parse((await vz.command('vzlist', ['--json'])).stdout) as ContainerRow[];
      expect(row).toMatchObject({ ctid: '101', status: 'running', pid: state.pid, diskspaceBytes: 256 * 1024 ** 2, ostemplate: 'tiny' });
      expect((await vz.command('vzlist', ['-S', '-H', '-o', 'ctid'])).stdout).toBe('');
      await vz.vzctl('stop', '101');
      expect((await vz.command('vzlist', [])).stdout).toBe('');
      expect((await vz.command('vzlist', ['-a', '-H', '-o', 'ctid,status,device'])).stdout).toBe('101  stopped  -\n');
      expect(await vz.command('vzlist', ['-o', 'statsu'])).toMatchObject(failure(2, "Did you mean 'status'"));
    });
  });

  it('is refused what does not go together with its state', async () => {
    await withContainer(async (vz) => {
      expect(await vz.command('vzctl', ['start', '101'])).toMatchObject(failure(25, 'running already'));
      expect(await vz.command('vzctl', ['destroy', '101'])).toMatchObject(failure(25, 'vzctl stop 101'));
      expect(await vz.command('vzctl', ['umount', '101'])).toMatchObject(failure(25, 'running'));
      expect(await vz.command('vzctl', ['create', '101', '--ostemplate', 'tiny'])).toMatchObject(failure(6, 'exists already'));
      expect(await vz.command('vzctl', ['create', '102', '--ostemplate', 'tinny'])).toMatchObject(failure(27, 'tiny'));
      expect(await vz.command('vzctl', ['start', '404'])).toMatchObject(failure(24, 'vzlist -a'));
      await vz.vzctl('stop', '101', '--fast');
      expect(await vz.command('vzctl', ['exec', '101', 'true'])).toMatchObject(failure(26, 'vzctl start 101'));
      expect(await vz.command('vzctl', ['snapshot-switch', '101', '--id', 'nothing'])).toMatchObject(failure(8, 'nothing'));
      await vz.vzctl('mount', '101');
      expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted down');
      expect(await vz.command('vzctl', ['destroy', '101'])).toMatchObject(failure(13, 'vzctl umount 101'));
      await vz.vzctl('umount', '101');
      await vz.vzctl('destroy', '101');
      expect(await readdir(join(vz.vzRoot, 'private'))).toEqual([]);
      expect(await leftovers(vz)).toEqual([]);
    });
  });

  it('whose init has died is down, and starts again with its files', async () => {
    await withContainer(async (vz) => {
      await vz.vzctl('exec', '101', 'echo kept > /root/file');
      const { pid } = await vz.json<ContainerState>('status', '101');
      process.kill(pid ?? 0, 'SIGKILL');
      await expect.poll(() => vz.vzctl('status', '101')).toBe('CTID 101 exist mounted down');
      expect((await vz.command('vzlist', ['-a', '-H', '-o', 'status'])).stdout).toBe('mounted\n');
      expect(await vz.command('vzctl', ['exec', '101', 'true'])).toMatchObject({ status: 26 });
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('kept');
      await vz.vzctl('restart', '101', '--fast');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('kept');
    });
  });

  it('is snapshotted while it writes, and goes back to that', async () => {
    await withContainer(async (vz) => {
      await vz.vzctl('exec', '101', '(while :; do date >> /root/log; done) </dev/null >/dev/null 2>&1 & echo one > /root/file');
      const taken = await vz.json<{ id: string; live: boolean }>('snapshot', '101', '--name', 'first', '--description', 'while writing');
      expect(taken.live).toBe(true);
      await vz.vzctl('exec', '101', 'echo two > /root/file');
      expect(await vz.vzctl('snapshot-list', '101')).toMatch(new RegExp(`\\*\\s+${taken.id}.*first`));
      await vz.vzctl('stop', '101', '--fast');
      await vz.vzctl('snapshot-switch', '101', '--id', 'first');
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('one');
      await vz.vzctl('exec', '101', 'echo three > /root/file');
      expect(await vz.command('vzctl', ['snapshot-switch', '101', '--id', 'nothing', '--restart'])).toMatchObject(failure(8, 'nothing'));
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('three');
      await vz.vzctl('snapshot-switch', '101', '--id', 'first', '--restart');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/file')).toBe('one');
    });
  });

  it.skipIf(lacks('crun'))('runs under crun when that is asked for', async () => {
    await withContainer(
      async (vz) => {
        expect((await vz.json<ContainerState>('status', '101')).runtime).toMatch(/crun$/);
        expect(await vz.vzctl('exec', '101', 'echo', 'hello')).toBe('hello');
        expect(await vz.vzctl('stop', '101')).toBe('Container 101 stopped');
      },
      ['--runtime', 'crun'],
    );
  });

  it('interrupted while it is created does not exist, and can be created then', async () => {
    await withVz(async (vz) => {
      await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar'));
      for (const signalAfterMs of [300, 500, 700, 900]) {
        const create = ['create', '101', '--ostemplate', 'tiny', '--diskspace', '256M'];
        const { status } = await vz.command('vzctl', create, { signalAfterMs });
        if (status === 0) await vz.vzctl('destroy', '101');
        else expect([130, 20]).toContain(status);
        expect(await vz.vzctl('status', '101')).toBe('CTID 101 deleted unmounted down');
        expect(await leftovers(vz)).toEqual([]);
      }
      await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '256M');
    });
  });

  it('keeps what is not a container out of the way', async () => {
    await withContainer(async (vz) => {
      await writeFile(join(vz.vzRoot, 'conf/0.conf'), 'ONBOOT="no"\n');
      await writeFile(join(vz.vzRoot, 'conf/ve-basic.conf-sample'), 'ONBOOT="no"\n');
      expect((await vz.command('vzlist', ['-a', '-H', '-o', 'ctid'])).stdout).toBe('101\n');
      await vz.vzctl('set', '101', '--hostname', 'renamed', '--onboot', 'yes', '--save');
      expect((await vz.command('vzlist', ['-H', '-o', 'hostname,onboot'])).stdout).toBe('renamed  yes\n');
    });
  });

  it('limits the speed of its disk, in use or not', async () => {
    await withContainer(async (vz) => {
      const limits = async (): Promise<unknown> =>
        (await findAttachment(join(vz.vzRoot, 'private/101/root.hdd'), { runDir: vz.runDir })) ?? {};
      await vz.vzctl('set', '101', '--iolimit', '10M', '--iopslimit', '500', '--save');
      await expect.poll(limits, { timeout: 30_000 }).toMatchObject({ bps: 10 * 2 ** 20, iops: 500 });
      await vz.vzctl('stop', '101');
      await vz.vzctl('mount', '101');
      expect(await limits()).toMatchObject({ bps: 10 * 2 ** 20, iops: 500 });
      await vz.vzctl('set', '101', '--iolimit', '0', '--save');
      await expect.poll(limits, { timeout: 30_000 }).toMatchObject({ bps: null, iops: 500 });
      expect(await readFile(join(vz.vzRoot, 'conf/101.conf'), 'utf8')).toMatch(/^IOLIMIT="0"\nIOPSLIMIT="500"$/m);
      await vz.vzctl('umount', '101');
    });
  });

  it('gets a smaller disk: a limit while it runs, over restarts, and less for good while it is stopped', async () => {
    await withContainer(async (vz) => {
      const write = ['exec', '101', 'dd', 'if=/dev/zero', 'of=/root/large', 'bs=1M', 'count=100'];
      await vz.vzctl('exec', '101', 'sh', '-c', 'echo kept > /root/f');
      await vz.vzctl('set', '101', '--diskspace', '64M', '--save');
      await vz.vzctl('stop', '101');
      await vz.vzctl('start', '101');
      expect(await vz.command('vzctl', write)).toMatchObject({ stderr: expect.stringContaining('No space left') as string });
      await vz.vzctl('set', '101', '--diskspace', '256M', '--save');
      await vz.vzctl(...write);
      await vz.vzctl('exec', '101', 'rm', '/root/large');
      await vz.vzctl('stop', '101');
      expect(await vz.command('vzctl', ['set', '101', '--diskspace', '1M', '--save'])).toMatchObject(failure(2, 'cannot become smaller'));
      await vz.vzctl('set', '101', '--diskspace', '64M', '--save');
      expect(await readFile(join(vz.vzRoot, 'conf/101.conf'), 'utf8')).toMatch(/^DISKSPACE="65536:65536"$/m);
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('exec', '101', 'cat', '/root/f')).toBe('kept');
    });
  });
});
