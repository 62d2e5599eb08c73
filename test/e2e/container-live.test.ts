// SPDX-License-Identifier: Apache-2.0
// Operations on the disk of a running container when the host, or another command, is in the way.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { lacks } from '../helpers/require.js';
import { leftovers, type Vz, withVz } from './vz.js';

async function withRunning(work: (vz: Vz, image: string, mountPoint: string) => Promise<void>): Promise<void> {
  await withVz(async (vz) => {
    await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
    await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '256M');
    await vz.vzctl('start', '101');
    await work(vz, join(vz.vzRoot, 'private/101/root.hdd'), join(vz.vzRoot, 'root/101'));
  });
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'runtime', 'busybox'))("a running container's disk", () => {
  it('stays mounted when ploop is told to unmount it', { timeout: 120_000 }, async () => {
    await withRunning(async (vz, image, mountPoint) => {
      for (const target of [image, mountPoint]) {
        const refused = await vz.command('ploop', ['umount', target]);
        expect(refused.status, refused.stderr).toBe(13);
        expect(refused.stderr).toMatch(/is busy: used by .*\(pid \d+, root directory[^)]*\)[\s\S]*vzctl stop/);
      }
      expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted running');
    });
  });

  it('is frozen for snapshots, trimmed and given back after the host has unmounted it', { timeout: 120_000 }, async () => {
    await withRunning(async (vz, image, mountPoint) => {
      await run('umount', [mountPoint]);
      const taken = await vz.json<{ frozenMs: number | null }>('snapshot', '101', '--name', 'frozen');
      expect(taken.frozenMs).not.toBeNull();
      const compacted = await vz.json<{ steps: { step: string; skipped: string | null }[] }>('compact', '101');
      expect(compacted.steps.find(({ step }) => step === 'trim')).toMatchObject({ skipped: null });
      const grown = await vz.command('ploop', ['resize', image, '--size', '512M']);
      expect(grown).toMatchObject({ status: 13, stderr: expect.stringMatching(/another mount namespace[\s\S]*mount \/dev\//) as string });
      await vz.vzctl('stop', '101', '--fast');
      expect(await leftovers(vz)).toEqual([]);
      await vz.vzctl('start', '101');
      expect(await vz.vzctl('status', '101')).toBe('CTID 101 exist mounted running');
    });
  });

  it('has the size again that it had, and the configuration says so, after going back', { timeout: 120_000 }, async () => {
    await withRunning(async (vz) => {
      await vz.vzctl('snapshot', '101', '--name', 'small');
      await vz.vzctl('stop', '101', '--fast');
      await vz.vzctl('set', '101', '--diskspace', '512M');
      expect(await vz.vzctl('snapshot-switch', '101', '--id', 'small')).toContain('the disk has 256 MiB again, before 512 MiB');
      const config = await readFile(join(vz.vzRoot, 'conf/101.conf'), 'utf8');
      expect(config).toContain(`DISKSPACE="${256 * 1024}:${256 * 1024}"`);
      await vz.vzctl('start', '101');
    });
  });

  it('is snapshotted by several at once, and shown meanwhile', { timeout: 120_000 }, async () => {
    await withRunning(async (vz, image) => {
      const snapshots = [1, 2, 3, 4].map((n) => vz.command('ploop', ['snapshot', image, '--name', `s${n}`, '--json']));
      for (const taken of await Promise.all(snapshots)) {
        expect(taken.status, taken.stderr).toBe(0);
        expect((JSON.parse(taken.stdout) as { frozenMs: number | null }).frozenMs).not.toBeNull();
      }
      // Layers go while they are looked at.
      const deletions = [1, 2, 3, 4].map((n) => vz.command('ploop', ['snapshot-delete', image, `s${n}`]));
      const looks = [1, 2, 3, 4].map(() => vz.command('ploop', ['info', image]));
      for (const done of await Promise.all([...deletions, ...looks])) expect(done.status, done.stderr).toBe(0);
    });
  });

  it('is snapshotted, and the container stopped, while a deletion is awaited', { timeout: 120_000 }, async () => {
    await withRunning(async (vz) => {
      await vz.vzctl('exec', '101', 'dd if=/dev/urandom of=/a bs=1M count=8; sync');
      const { id } = await vz.json<{ id: string }>('snapshot', '101', '--name', 'old');
      await vz.vzctl('exec', '101', 'dd if=/dev/urandom of=/b bs=1M count=8; sync');
      const deleting = vz.command('vzctl', ['snapshot-delete', '101', '--id', 'old', '--rate', '4K']);
      const jobs = async (): Promise<unknown> =>
        JSON.parse((await vz.command('ploop', ['jobs', join(vz.vzRoot, 'private/101/root.hdd'), '--json'])).stdout);
      await expect.poll(jobs, { timeout: 20_000 }).toMatchObject({ jobs: [{ id, state: 'running' }] });
      await vz.vzctl('snapshot', '101', '--name', 'meanwhile');
      await vz.vzctl('stop', '101', '--fast');

      expect(await deleting).toMatchObject({ status: 130, stderr: expect.stringContaining('nothing is lost') as string });
      expect(await vz.vzctl('snapshot-delete', '101', '--id', id)).toContain('deleted');
    });
  });
});
