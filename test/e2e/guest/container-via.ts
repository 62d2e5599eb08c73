// SPDX-License-Identifier: Apache-2.0
// In the guest: the life of a container whose disk comes through the kernel's NBD client or ublk, with its worker killed in the
// middle of it.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { createContainer } from '../../../src/container/create.js';
import { destroyContainer } from '../../../src/container/destroy.js';
import { captureInContainer } from '../../../src/container/exec.js';
import { listContainers } from '../../../src/container/list.js';
import { containerPaths, vzRoots } from '../../../src/container/place/roots.js';
import { setContainer } from '../../../src/container/set.js';
import { listContainerSnapshots, snapshotContainer } from '../../../src/container/snapshot.js';
import { startContainer } from '../../../src/container/start.js';
import { stopContainer } from '../../../src/container/stop.js';
import type { ViaChoice } from '../../../src/attach/via.js';
import { attachment, killWorker, MIB, refusal, until } from './attached.js';

export interface LifeOutcome {
  via: string | null;
  device: string;
  /** Of the disk as the container sees it, after the resize: more than before, or why not. */
  grown: string;
  killedUnderWrites: boolean;
  restarts: number;
  /** What the log says of the deaths of workers. */
  deaths: string[];
  /** What the container had written around the death of the worker is what it reads. */
  sums: boolean;
  snapshots: (string | null)[];
  stopped: boolean;
  left: number;
}

type Roots = { vzRoot: string; runDir: string };

export async function lifeThrough(ctid: string, via: ViaChoice, roots: Roots): Promise<LifeOutcome> {
  const inside = async (script: string): Promise<string> => (await captureInContainer(ctid, ['sh', '-c', script], roots)).stdout.trim();
  const { imageDir } = containerPaths(ctid, vzRoots(roots));
  await createContainer(ctid, { ...roots, ostemplate: '/tmp/tiny.tar', diskspaceBytes: 128 * MIB });
  await startContainer(ctid, { ...roots, via });
  const { device, ...attached } = await attachment(imageDir);
  await inside('echo first > /root/file');
  await snapshotContainer(ctid, { ...roots, name: 'one' });
  await inside('echo second > /root/file');
  const before = Number(await inside("df -k / | tail -1 | awk '{print $2}'"));
  const refused = await refusal(setContainer(ctid, { ...roots, diskspaceBytes: 192 * MIB }));
  const after = Number(await inside("df -k / | tail -1 | awk '{print $2}'"));
  // Writes that go to the disk until they are told to stop, and a sum of what they are.
  const write = 'i=$((i % 6 + 1)); dd if=/dev/urandom of=/root/$i bs=64k count=16 conv=fsync 2>/dev/null';
  let ended = false;
  const writing = inside(`i=0; until [ -e /root/stop ]; do ${write}; done; cat /root/[1-6] | md5sum`).finally(() => (ended = true));
  await until(async () => (await inside('ls /root/1')) !== '');
  await killWorker(imageDir);
  const killedUnderWrites = !ended;
  await inside('touch /root/stop');
  const sum = await writing;
  const { restarts, folder } = await attachment(imageDir);
  const deaths = (await readFile(join(folder, 'log'), 'utf8')).match(/worker \d+ (was killed|ended|died).*/g) ?? [];
  await inside('sync');
  await writeFile('/proc/sys/vm/drop_caches', '3');
  const sums = sum === (await inside('cat /root/[1-6] | md5sum'));
  const { wasRunning } = await stopContainer(ctid, roots);
  const snapshots = (await listContainerSnapshots(ctid, roots)).map(({ name }) => name);
  await destroyContainer(ctid, roots);
  const left = (await listContainers(roots)).filter((one) => one.ctid === ctid).length;
  const grown = refused === '' ? String(after > before) : refused;
  return {
    via: attached.via,
    device: (device ?? '').replace(/\d+$/, ''),
    grown,
    killedUnderWrites,
    restarts,
    deaths,
    sums,
    snapshots,
    stopped: wasRunning,
    left,
  };
}
