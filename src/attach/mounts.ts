// SPDX-License-Identifier: Apache-2.0
// Where a device is mounted, from /proc/<pid>/mountinfo.

import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { formatDevno } from './devno.js';

export interface MountEntry {
  /** "7:3" */
  devno: string;
  /** The path inside the file system that is mounted here; "/" unless it is a bind mount of a part. */
  root: string;
  mountPoint: string;
  /** "rw,relatime" */
  options: string;
  type: string;
  source: string;
}

/** The mounts a process sees; [] when the process is gone. */
export async function readMounts(pid: number | 'self' = 'self'): Promise<MountEntry[]> {
  const text = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
  return parseMountinfo(text);
}

/** The mount points of a device ("7:3"), in the order they were mounted. */
export async function mountPointsOf(devno: string): Promise<string[]> {
  return (await readMounts()).filter((mount) => mount.devno === devno).map((mount) => mount.mountPoint);
}

/**
 * The mounts of a device where this process can get at them: its own or, when it has none, those of another mount namespace, through
 * /proc/<pid>/root. A container goes on with its disk when the host's mount of it is gone, and a service may have mounts of its own.
 */
export async function reachableMounts(devno: string): Promise<MountEntry[]> {
  const own = (await readMounts()).filter((mount) => mount.devno === devno);
  if (own.length > 0) return own;
  const seen = new Set([await readlink('/proc/self/ns/mnt').catch(() => '')]);
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
    if (namespace === '' || seen.has(namespace)) continue;
    seen.add(namespace);
    const there = await mountsSeenBy(Number(pid), devno);
    if (there.length > 0) return there;
  }
  return [];
}

/** Only where the path leads to the device: what a container does with its own links must not lead elsewhere. */
async function mountsSeenBy(pid: number, devno: string): Promise<MountEntry[]> {
  const found: MountEntry[] = [];
  for (const mount of await readMounts(pid)) {
    if (mount.devno !== devno) continue;
    const mountPoint = join(`/proc/${pid}/root`, mount.mountPoint);
    const info = await stat(mountPoint).catch(() => null);
    if (info !== null && formatDevno(info.dev) === devno) found.push({ ...mount, mountPoint });
  }
  return found;
}

export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const words = line.split(' ');
    const dash = words.indexOf('-', 6);
    const [, , devno, root, mountPoint, options] = words;
    const type = words[dash + 1];
    const source = words[dash + 2];
    if (dash < 0 || !devno || !root || !mountPoint || !options || !type || source === undefined) continue;
    entries.push({ devno, root: unescape(root), mountPoint: unescape(mountPoint), options, type, source: unescape(source) });
  }
  return entries;
}

/** The kernel writes space, tab, newline and backslash as \040 and so on; what follows is UTF-8. */
function unescape(word: string): string {
  return word.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
