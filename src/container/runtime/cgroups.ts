// SPDX-License-Identifier: Apache-2.0
// The host's control groups: which kind, where they are mounted, and what a container's group says.

import { readFile, rmdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { type MountEntry, readMounts } from '../../attach/mounts.js';

/** v1: controllers in hierarchies of their own; hybrid: those and a v2 one beside them; v2: one hierarchy; none: nothing mounted. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2' | 'none';

export interface HostCgroups {
  mode: CgroupMode;
  /** Mount point of the v2 hierarchy, null where there is none. */
  unified: string | null;
  /** Mount point of the v1 hierarchies: "/sys/fs/cgroup/pids", … */
  v1: string[];
}

export async function hostCgroups(): Promise<HostCgroups> {
  return classifyCgroups(await readMounts());
}

export function classifyCgroups(mounts: readonly MountEntry[]): HostCgroups {
  const whole = mounts.filter((mount) => mount.mountPoint.startsWith('/sys/fs/cgroup'));
  const v1 = whole.filter((mount) => mount.type === 'cgroup').map((mount) => mount.mountPoint);
  const unified = whole.find((mount) => mount.type === 'cgroup2')?.mountPoint ?? null;
  // A named v1 hierarchy (systemd's own) has no controllers: it does not make a host hybrid.
  const mode = v1.length > 0 ? (unified === null ? 'v1' : 'hybrid') : unified === null ? 'none' : 'v2';
  return { mode, unified, v1 };
}

/** The container's group, absolute in every hierarchy, as the bundle names it. */
export function cgroupPath(runtimeId: string): string {
  return `/ploop/${runtimeId}`;
}

/** Tasks in the container's group, the groups below included (OpenVZ's NPROC counts them, too); null when there is no such group. */
export async function cgroupTasks(cgroups: HostCgroups, runtimeId: string): Promise<number | null> {
  const pids = cgroups.v1.find((mount) => mount.split('/').at(-1)?.split(',').includes('pids')) ?? cgroups.unified;
  if (pids === null) return null;
  const text = await readFile(join(pids, cgroupPath(runtimeId), 'pids.current'), 'utf8').catch(() => '');
  return /^\d+$/.test(text.trim()) ? Number(text) : null;
}

/** Removes an empty group of ours and the empty ones below it; quiet when it is gone or still in use. */
export async function removeCgroup(directory: string): Promise<void> {
  const below = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of below) if (entry.isDirectory()) await removeCgroup(join(directory, entry.name));
  await rmdir(directory).catch(() => undefined);
}
