// SPDX-License-Identifier: Apache-2.0
// Everything an operator does to a disk, on a container that vzctl made and that runs and writes all the while: nothing it wrote is
// lost, and it never stops. (On xfs, which grows online everywhere; ext4 wants CAP_SYS_RESOURCE for that.)
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { lacks } from '../helpers/require.js';
import { type Vz, withVz } from './vz.js';

const MIB = 2 ** 20;

/** A line at a time, each synced before the next; `missing` says which of them are not there. */
const WRITER =
  '(n=0; while :; do n=$((n+1)); echo $n | dd of=/root/log oflag=append conv=notrunc,fsync; echo $n > /root/last; done) </dev/null >/dev/null 2>&1 &';
const MISSING = 'last=$(cat /root/last); seq 1 $last | while read n; do grep -qx $n /root/log || echo $n; done';

async function withRunning(work: (vz: Vz, dir: string, good: (...args: string[]) => Promise<string>) => Promise<void>): Promise<void> {
  await withVz(async (vz) => {
    await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
    await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '512M', '--fs', 'xfs');
    await vz.vzctl('start', '101');
    const good = async (...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await vz.command('ploop', args);
      expect({ args, status, stderr: status === 0 ? '' : stderr }).toEqual({ args, status: 0, stderr: '' });
      return stdout;
    };
    await work(vz, join(vz.vzRoot, 'private/101/root.hdd'), good);
  });
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'xfs', 'runtime', 'busybox'))('a running container', () => {
  it('takes every operation on its disk, and loses nothing of what it wrote', { timeout: 300_000 }, async () => {
    await withRunning(async (vz, dir, good) => {
      await vz.vzctl('exec', '101', WRITER);
      await vz.vzctl('exec', '101', 'dd if=/dev/urandom of=/root/big bs=1M count=20 2>/dev/null && cp /root/big /root/waste');

      const first = await vz.json<{ id: string; live: boolean }>('snapshot', '101', '--name', 'first');
      expect(first.live).toBe(true);
      await vz.vzctl('exec', '101', 'rm /root/waste');
      await vz.vzctl('snapshot', '101', '--name', 'second');

      // A snapshot beside it, and a clone of it.
      const view = join(vz.directory, 'view');
      await mkdir(view);
      await good('mount', dir, view, '--snapshot', 'first');
      expect((await stat(join(view, 'root/waste'))).size).toBe(20 * MIB);
      await good('umount', view);
      const clone = join(vz.directory, 'clone');
      await good('clone', dir, clone, '--snapshot', 'second');
      await good('mount', clone, view);
      expect((await stat(join(view, 'root/big'))).size).toBe(20 * MIB);
      await good('umount', view);

      await vz.vzctl('set', '101', '--diskspace', '768M', '--save');
      expect(await vz.vzctl('exec', '101', "df -m / | awk 'END { print ($2 > 600) }'")).toBe('1');
      await good('set', dir, '--iops', '2000', '--bps', '50M');
      await good('set', dir, '--discard', 'cluster');
      expect(JSON.parse(await good('info', dir, '--json'))).toMatchObject({ discard: 'cluster' });
      await good('stat', dir);
      const picture = join(vz.directory, 'disk.svg');
      await good('map', dir, '--picture', picture);
      expect((await stat(picture)).size).toBeGreaterThan(1000);
      await good('set', dir, '--discard', 'block');
      await good('set', dir, '--iops', 'none', '--bps', 'none');

      // Clones share the layers so far; what is deleted here has come since.
      await vz.vzctl('snapshot', '101', '--name', 'third');
      await vz.vzctl('exec', '101', 'dd if=/dev/urandom of=/root/more bs=1M count=4 conv=fsync 2>/dev/null');
      await vz.vzctl('snapshot', '101', '--name', 'fourth');
      await vz.vzctl('snapshot-delete', '101', '--id', 'fourth', '--background');
      await good('jobs', dir);
      const jobs = async (): Promise<unknown> => (JSON.parse(await good('jobs', dir, '--json')) as { jobs: unknown[] }).jobs;
      await expect.poll(jobs, { timeout: 60_000 }).toEqual([]);

      const text = await vz.vzctl('compact', '101');
      for (const step of ['trim', 'pack', 'below', 'relocate']) expect(text).toMatch(new RegExp(`^${step} `, 'm'));
      expect(await vz.vzctl('exec', '101', MISSING)).toBe('');
      expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted running');

      await vz.vzctl('snapshot-switch', '101', '--id', 'first', '--restart');
      expect(await vz.vzctl('exec', '101', MISSING)).toBe('');
      expect(await vz.vzctl('exec', '101', 'wc -c < /root/waste')).toBe(String(20 * MIB));
      await vz.vzctl('stop', '101');
      await good('check', dir);
      await good('check', clone);
    });
  });
});
