// SPDX-License-Identifier: Apache-2.0
// Where a device is mounted, from /proc/<pid>/mountinfo.

import { readFile } from 'node:fs/promises';

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
