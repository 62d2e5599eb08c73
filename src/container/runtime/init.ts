// SPDX-License-Identifier: Apache-2.0
// Which init a container's root has, and how that one is told to stop. Only looks, and never outside the root:
// symbolic links in it are followed as the container would follow them.

import { lstat, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

export type InitKind = 'systemd' | 'sysvinit' | 'busybox' | 'openrc' | 'other' | 'fallback';

/** A signal to process 1, or a command run inside. */
export type StopAction = { signal: number } | { command: string[] };

export interface ContainerInit {
  kind: InitKind;
  /** Inside the container. */
  path: string;
  stop: StopAction;
}

/** Where ploop-init is bind-mounted: in /run, a tmpfs of the container, so that nothing is left in the image. */
export const FALLBACK_INIT = '/run/ploop/init';

/** Where the kernel looks, in its order. */
const CANDIDATES = ['/sbin/init', '/etc/init', '/bin/init'];

const STOP: Record<InitKind, StopAction> = {
  systemd: { signal: 37 }, // SIGRTMIN+3: halt.target
  busybox: { signal: 12 }, // SIGUSR2: poweroff
  sysvinit: { command: ['/sbin/init', '0'] },
  openrc: { command: ['/sbin/openrc-shutdown', '--poweroff', 'now'] },
  other: { signal: 15 },
  fallback: { signal: 15 },
};

export async function detectInit(root: string): Promise<ContainerInit> {
  for (const path of CANDIDATES) {
    const real = await resolveInRoot(root, path);
    if (real === null || !(await isExecutable(join(root, real)))) continue;
    const kind = await kindOf(root, real);
    return { kind, path, stop: STOP[kind] };
  }
  return { kind: 'fallback', path: FALLBACK_INIT, stop: STOP.fallback };
}

async function kindOf(root: string, real: string): Promise<InitKind> {
  const name = basename(real);
  if (name === 'systemd') return 'systemd';
  if (name.startsWith('busybox')) return 'busybox';
  if (name === 'openrc-init') return 'openrc';
  return name === 'init' && (await resolveInRoot(root, '/etc/inittab')) !== null ? 'sysvinit' : 'other';
}

/** The shell for `enter`. */
export async function findShell(root: string): Promise<string | null> {
  for (const path of ['/bin/bash', '/bin/sh']) {
    const real = await resolveInRoot(root, path);
    if (real !== null && (await isExecutable(join(root, real)))) return path;
  }
  return null;
}

const MAX_LINKS = 40;

/** The path inside the root that `path` leads to, free of symbolic links; null when it leads nowhere. */
export async function resolveInRoot(root: string, path: string): Promise<string | null> {
  const rest = path.split('/').filter((part) => part !== '');
  let done: string[] = [];
  let links = 0;
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = [...done, part];
    const info = await lstat(join(root, ...here)).catch(() => null);
    if (info === null) return null;
    if (!info.isSymbolicLink()) {
      done = here;
      continue;
    }
    if (++links > MAX_LINKS) return null;
    const target = await readlink(join(root, ...here)).catch(() => null);
    if (target === null) return null;
    if (target.startsWith('/')) done = [];
    rest.unshift(...target.split('/').filter((word) => word !== ''));
  }
  return `/${done.join('/')}`;
}

async function isExecutable(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  return info !== null && info.isFile() && (info.mode & 0o111) !== 0;
}
