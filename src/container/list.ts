// SPDX-License-Identifier: Apache-2.0
// All containers with what is known about them. One call of each runtime answers for all of its containers.

import { readdir, realpath } from 'node:fs/promises';

import { readMounts, type MountEntry } from '../attach/mounts.js';
import { type FileSystemUsage, fileSystemUsage } from '../filesystem/usage.js';
import { checkCtid, compareCtids } from './place/ctid.js';
import { type Located, locateContainer } from './place/locate.js';
import { vzRoots, type VzRootOptions } from './place/roots.js';
import { cgroupTasks, hostCgroups, type HostCgroups } from './runtime/cgroups.js';
import { recordedRuntime, type RuntimeState, runtimeStates } from './runtime/driver.js';

export type ContainerStatus = 'running' | 'paused' | 'mounted' | 'stopped';

export interface ContainerRow {
  ctid: string;
  status: ContainerStatus;
  hostname: string | null;
  /** Tasks in the container; null when it does not run. */
  nproc: number | null;
  ips: string[];
  ostemplate: string | null;
  /** From the file system: null while it is not mounted. */
  usedBytes: number | null;
  diskspaceBytes: number | null;
  device: string | null;
  pid: number | null;
  runtime: string | null;
  onboot: boolean;
  uuid: string | null;
  description: string | null;
  privateDir: string;
  mountPoint: string;
  layout: 'ploop';
}

export async function listContainers(options: VzRootOptions = {}): Promise<ContainerRow[]> {
  const { confDir } = vzRoots(options);
  const names = await readdir(confDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const ctids = names.flatMap((name) => idOf(name)).sort(compareCtids);
  const located = await Promise.all(ctids.map((ctid) => locateContainer(ctid, options)));
  const [cgroups, mounts] = await Promise.all([hostCgroups(), readMounts()]);
  const states = await allStates(located, cgroups);
  const rows = await Promise.all(located.map((one) => row(one, { cgroups, mounts, states })));
  return rows.filter((one) => one !== null);
}

/** "101.conf" → 101. What is no container's (0.conf, samples, editors' files) is passed over. */
function idOf(name: string): string[] {
  if (!name.endsWith('.conf')) return [];
  try {
    return [checkCtid(name.slice(0, -'.conf'.length))];
  } catch {
    return [];
  }
}

interface LiveState extends RuntimeState {
  runtime: string;
}

/** By runtime id. */
async function allStates(located: readonly Located[], cgroups: HostCgroups): Promise<Map<string, LiveState>> {
  const asked = new Map<string, Map<string, RuntimeState>>();
  const result = new Map<string, LiveState>();
  for (const { paths } of located) {
    const runtime = await recordedRuntime(paths, cgroups);
    if (runtime === null) continue;
    const states = asked.get(runtime.path) ?? (await runtimeStates(runtime));
    asked.set(runtime.path, states);
    const state = states.get(runtime.id);
    if (state !== undefined) result.set(runtime.id, { ...state, runtime: runtime.path });
  }
  return result;
}

interface Surroundings {
  cgroups: HostCgroups;
  mounts: readonly MountEntry[];
  states: ReadonlyMap<string, LiveState>;
}

async function row({ paths, config }: Located, { cgroups, mounts, states }: Surroundings): Promise<ContainerRow | null> {
  if (config === null) return null;
  const state = states.get(paths.runtimeId);
  const place = await realpath(paths.mountPoint).catch(() => paths.mountPoint);
  const mount = mounts.findLast((one) => one.mountPoint === place);
  const status = statusOf(state, mount !== undefined);
  const up = status === 'running' || status === 'paused';
  const text = (key: string): string | null => config.get(key) || null;
  const usage = mount === undefined ? null : await fileSystemUsage(paths.mountPoint).catch((): FileSystemUsage | null => null);
  return {
    ctid: paths.ctid,
    status,
    hostname: text('HOSTNAME'),
    nproc: up ? await cgroupTasks(cgroups, paths.runtimeId) : null,
    ips: (config.get('IP_ADDRESS') ?? '').split(/\s+/).filter((word) => word !== ''),
    ostemplate: text('OSTEMPLATE'),
    usedBytes: usage?.usedBytes ?? null,
    diskspaceBytes: diskspaceOf(config.get('DISKSPACE')),
    device: mount?.source ?? null,
    pid: up ? (state?.pid ?? null) : null,
    runtime: up ? (state?.runtime ?? null) : null,
    onboot: config.get('ONBOOT') === 'yes',
    uuid: text('UUID'),
    description: text('DESCRIPTION'),
    privateDir: paths.privateDir,
    mountPoint: paths.mountPoint,
    layout: 'ploop',
  };
}

function statusOf(state: RuntimeState | undefined, mounted: boolean): ContainerStatus {
  if (state?.status === 'running' || state?.status === 'paused') return state.status;
  return mounted ? 'mounted' : 'stopped';
}

/** "SOFT:HARD" or one figure, in KiB or with a suffix; the hard limit is the disk's size. */
export function diskspaceOf(value: string | undefined): number | null {
  const word = value?.split(':').at(-1) ?? '';
  const [, figure, suffix] = /^(\d+(?:\.\d+)?)([KMGT]?)B?$/i.exec(word) ?? [];
  if (figure === undefined) return null;
  return Math.floor(Number(figure) * 1024 ** ('KMGT'.indexOf(suffix?.toUpperCase() || 'K') + 1));
}
