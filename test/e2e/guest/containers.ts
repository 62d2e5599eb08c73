// SPDX-License-Identifier: Apache-2.0
// In the guest: containers on a host whose control groups are v2 alone, with disks of every kind. Prints one line of JSON.
import { mkdir } from 'node:fs/promises';

import { createContainer } from '../../../src/container/create.js';
import { captureInContainer } from '../../../src/container/exec.js';
import { listContainers } from '../../../src/container/list.js';
import { hostCgroups } from '../../../src/container/runtime/cgroups.js';
import { snapshotContainer, switchContainerToSnapshot } from '../../../src/container/snapshot.js';
import { startContainer } from '../../../src/container/start.js';
import { stopContainer } from '../../../src/container/stop.js';
import { makeBusyboxTemplate } from '../../../src/template/busybox.js';
import { type LifeOutcome, lifeThrough } from './container-via.js';

export interface GuestOutcome {
  cgroupMode: string;
  life: {
    runtime: string;
    status: string | undefined;
    nproc: number | null | undefined;
    hostname: string;
    cgroup: string;
    killed: boolean;
  };
  again: { runtime: string; content: string };
  through: LifeOutcome[];
}

// The guest's /tmp is in memory, and gone with it.
const roots = { vzRoot: '/tmp/vz', runDir: '/tmp/run' };

const inside = async (ctid: string, ...command: string[]): Promise<string> =>
  (await captureInContainer(ctid, command, roots)).stdout.trim();

/** The whole life of one container. */
async function life(ctid: string): Promise<GuestOutcome['life']> {
  await createContainer(ctid, { ...roots, ostemplate: '/tmp/tiny.tar', diskspaceBytes: 128 * 1024 ** 2 });
  const { runtime } = await startContainer(ctid, roots);
  const row = (await listContainers(roots)).find((one) => one.ctid === ctid);
  const [hostname, cgroup] = [await inside(ctid, 'hostname'), await inside(ctid, 'cat', '/proc/1/cgroup')];
  await inside(ctid, 'sh', '-c', 'echo first > /root/file');
  await snapshotContainer(ctid, { ...roots, name: 'one' });
  await inside(ctid, 'sh', '-c', 'echo second > /root/file');
  const { killed } = await stopContainer(ctid, roots);
  await switchContainerToSnapshot(ctid, 'one', roots);
  return { runtime, status: row?.status, nproc: row?.nproc, hostname, cgroup, killed };
}

/** Under the other runtime: the state that the snapshot kept. */
async function again(ctid: string): Promise<GuestOutcome['again']> {
  const { runtime } = await startContainer(ctid, { ...roots, runtime: 'runc' });
  const content = await inside(ctid, 'cat', '/root/file');
  await stopContainer(ctid, { ...roots, fast: true });
  return { runtime, content };
}

await mkdir('/tmp/run');
await makeBusyboxTemplate('/tmp/tiny.tar');
const { mode } = await hostCgroups();
const began = Date.now();
const first = { life: await life('101'), again: await again('101') };
process.env.PLOOP_RUN_DIR = roots.runDir;
process.stderr.write(`${Date.now() - began} ms without, `);
const through = [await lifeThrough('102', 'nbd', roots), await lifeThrough('103', 'ublk', roots)];
process.stderr.write(`${Date.now() - began} ms with other ways to make the device\n`);
const outcome: GuestOutcome = { cgroupMode: mode, ...first, through };
process.stdout.write(`${JSON.stringify(outcome)}\n`);
