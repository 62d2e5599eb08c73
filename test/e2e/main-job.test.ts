// SPDX-License-Identifier: Apache-2.0
// The main job on real input: a Debian root becomes an image, a container runs on it; snapshot, rollback and compaction work.
import { describe, expect, it } from 'vitest';

import type { ContainerRow } from '../../src/container/list.js';
import { lacks } from '../helpers/require.js';
import { debianTemplate } from './debian.js';
import { leftovers, type Vz, withVz } from './vz.js';

const MIB = 1024 * 1024;
const CTID = '901';

/** Names, modes, owners, sizes, times, link targets, and the content of every file, in one sum. */
const TREE_SUM =
  "export LC_ALL=C; cd / && { find data etc usr var root -xdev -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort; " +
  'find data etc usr var root -xdev -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum';

async function treeSum(vz: Vz): Promise<string> {
  return vz.vzctl('exec', CTID, TREE_SUM);
}

async function usedBytes(vz: Vz): Promise<number> {
  const rows = JSON.parse((await vz.command('vzlist', ['-a', '--json'])).stdout) as ContainerRow[];
  return rows.find((row) => row.ctid === CTID)?.usedBytes ?? Number.NaN;
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'runtime', 'mmdebstrap'))('the main job on Debian', () => {
  it('creates, runs, snapshots, rolls back and compacts, and leaves nothing', { timeout: 600_000 }, async () => {
    const template = await debianTemplate('minbase');
    await withVz(async (vz) => {
      await vz.vzctl('create', CTID, '--ostemplate', template, '--diskspace', '2G', '--hostname', 'debian.example.org');
      await vz.vzctl('start', CTID);
      expect(await vz.vzctl('status', CTID)).toBe(`CTID ${CTID} exist mounted running`);
      expect(await vz.vzctl('exec', CTID, 'cat', '/etc/os-release')).toContain('ID=debian');
      expect(await vz.vzctl('exec', CTID, 'hostname')).toBe('debian.example.org');

      await vz.vzctl('exec', CTID, 'mkdir /data && for i in $(seq 1 100); do head -c 2M /dev/urandom > /data/$i; done && sync -f /data');
      const before = await treeSum(vz);
      const { id } = await vz.json<{ id: string }>('snapshot', CTID, '--name', 'before');

      await vz.vzctl('exec', CTID, 'rm /data/[1-4]*');
      const overwrite = 'for i in $(seq 50 60); do dd if=/dev/urandom of=/data/$i bs=4k count=100 seek=37 conv=notrunc status=none; done';
      await vz.vzctl(
        'exec',
        CTID,
        `${overwrite}; echo changed > /etc/os-release; rm -r /usr/share/doc; head -c 20M /dev/urandom > /data/new`,
      );
      expect(await treeSum(vz)).not.toBe(before);

      const refused = await vz.command('vzctl', ['snapshot-switch', CTID, '--id', 'before']);
      expect(refused).toMatchObject({ status: 25, stderr: expect.stringContaining(`vzctl stop ${CTID}`) as string });
      await vz.vzctl('stop', CTID);
      expect(await vz.vzctl('status', CTID)).toBe(`CTID ${CTID} exist unmounted down`);
      await vz.vzctl('snapshot-switch', CTID, '--id', 'before', '--discard');
      await vz.vzctl('start', CTID);
      expect(await treeSum(vz)).toBe(before);

      // What a snapshot holds stays on the host: it has to go before the space can come back.
      await vz.vzctl('stop', CTID);
      await vz.vzctl('snapshot-delete', CTID, '--id', id.slice(0, 8));
      await vz.vzctl('start', CTID);
      expect(await treeSum(vz)).toBe(before);

      await vz.vzctl('exec', CTID, 'for i in $(seq 1 75); do rm /data/$i; done; sync -f /data');
      const full = await vz.hostBytes(CTID);
      await vz.vzctl('compact', CTID);
      const [compacted, used] = [await vz.hostBytes(CTID), await usedBytes(vz)];
      expect(full - compacted).toBeGreaterThan(140 * MIB);
      expect(compacted).toBeLessThanOrEqual(used * 1.05 + 16 * MIB);
      expect(await vz.vzctl('exec', CTID, 'ls /data | wc -l')).toBe('25');

      await vz.vzctl('stop', CTID);
      await vz.vzctl('destroy', CTID);
      expect(await vz.vzctl('status', CTID)).toBe(`CTID ${CTID} deleted unmounted down`);
      expect(await leftovers(vz)).toEqual([]);
    });
  });
});
