// SPDX-License-Identifier: Apache-2.0
// Who uses a device or what is mounted from it: processes with their root, working directory, open files or mapped files
// on it, looked up in /proc as fuser(1) does, and mount namespaces that still hold a mount of it.

import { readdir, readFile, readlink, stat } from 'node:fs/promises';

import { formatDevno } from './devno.js';
import { mountPointsOf, readMounts } from './mounts.js';

export interface DeviceUser {
  pid: number;
  /** The command line, at most 120 characters; kernel threads have none. */
  command: string;
  /** What ties it: "working directory", "root directory", "open file", "mapped file", "device", "mount namespace". */
  how: string;
  path: string;
}

export interface DeviceUsers {
  mountPoints: string[];
  processes: DeviceUser[];
}

/** Everything that keeps a device in use. */
export async function usersOfDevice(device: { device: string; devno: string | null }): Promise<DeviceUsers> {
  const devno = device.devno ?? (await devnoOf(device.device));
  if (devno === null) return { mountPoints: [], processes: [] };
  const [mountPoints, processes] = await Promise.all([mountPointsOf(devno), processesUsing({ devno, device: device.device })]);
  return { mountPoints, processes };
}

/** Everything that keeps a mounted file system busy. */
export async function usersOfMountPoint(mountPoint: string): Promise<DeviceUser[]> {
  const mount = (await readMounts()).findLast((entry) => entry.mountPoint === mountPoint);
  return mount === undefined ? [] : processesUsing({ devno: mount.devno, device: null });
}

/**
 * Processes of other mount namespaces that live on a device: a container whose root it is, say. Unmounting it here succeeds all the
 * same, and leaves them where they are.
 */
export async function usersElsewhere(devno: string): Promise<DeviceUser[]> {
  const users: DeviceUser[] = [];
  const ownNamespace = await readlink('/proc/self/ns/mnt').catch(() => '');
  const mountedIn = new Map<string, boolean>([[ownNamespace, false]]);
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => ownNamespace);
    if (!mountedIn.has(namespace))
      mountedIn.set(
        namespace,
        (await readMounts(pid)).some((mount) => mount.devno === devno),
      );
    if (mountedIn.get(namespace) !== true) continue;
    // One that only has the mount in its table loses it with the host's, or is in nobody's way.
    const user = await useOf(pid, { devno, device: null }, namespace);
    if (user !== null) users.push(user);
  }
  return users;
}

/** "bash (pid 12, working directory /mnt/a), sleep (pid 13, …) and 4 more" */
export function usersSentence(users: readonly DeviceUser[], most = 5): string {
  const shown = users
    .slice(0, most)
    .map((user) => `${user.command || '?'} (pid ${user.pid}, ${user.how}${user.path === '' ? '' : ` ${user.path}`})`);
  const rest = users.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

interface Target {
  devno: string;
  device: string | null;
}

async function processesUsing(target: Target): Promise<DeviceUser[]> {
  const ownNamespace = await readlink('/proc/self/ns/mnt').catch(() => '');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const users: DeviceUser[] = [];
  for (const pid of pids) {
    const user = await useOf(Number(pid), target, ownNamespace);
    if (user !== null) users.push(user);
  }
  return users;
}

/** The first tie of a process to the target; null when there is none or the process is gone. */
async function useOf(pid: number, target: Target, ownNamespace: string): Promise<DeviceUser | null> {
  const base = `/proc/${pid}`;
  const found =
    (await linkUse(`${base}/root`, 'root directory', target)) ??
    (await linkUse(`${base}/cwd`, 'working directory', target)) ??
    (await fileUse(`${base}/fd`, target)) ??
    (await mapUse(`${base}/maps`, target)) ??
    (await namespaceUse(pid, target, ownNamespace));
  return found === null ? null : { pid, command: await commandOf(pid), ...found };
}

type Use = Pick<DeviceUser, 'how' | 'path'>;

async function linkUse(link: string, how: string, target: Target): Promise<Use | null> {
  const info = await stat(link).catch(() => null);
  if (info === null) return null;
  if (info.isBlockDevice()) return formatDevno(info.rdev) === target.devno ? { how: 'device', path: target.device ?? '' } : null;
  if (formatDevno(info.dev) !== target.devno) return null;
  return { how, path: await readlink(link).catch(() => '') };
}

async function fileUse(folder: string, target: Target): Promise<Use | null> {
  for (const fd of await readdir(folder).catch(() => [])) {
    const use = await linkUse(`${folder}/${fd}`, 'open file', target);
    if (use !== null) return use;
  }
  return null;
}

/** /proc/<pid>/maps names the device in hexadecimal: "… 07:03 131 /mnt/lib.so". */
async function mapUse(path: string, target: Target): Promise<Use | null> {
  const [major, minor] = target.devno.split(':').map((word) => Number(word).toString(16).padStart(2, '0'));
  const text = await readFile(path, 'utf8').catch(() => '');
  const mark = ` ${major}:${minor} `;
  const line = text.split('\n').find((one) => one.includes(mark));
  return line === undefined ? null : { how: 'mapped file', path: line.slice(line.indexOf(mark)).trim().split(/\s+/)[2] ?? '' };
}

/** A process in another mount namespace that still has the device mounted there. */
async function namespaceUse(pid: number, target: Target, ownNamespace: string): Promise<Use | null> {
  const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => ownNamespace);
  if (namespace === ownNamespace) return null;
  const mount = (await readMounts(pid)).find((entry) => entry.devno === target.devno);
  return mount === undefined ? null : { how: 'mount namespace', path: mount.mountPoint };
}

async function commandOf(pid: number): Promise<string> {
  const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  const line = words.replace(/\0+$/, '').replaceAll('\0', ' ');
  if (line !== '') return line.length > 120 ? `${line.slice(0, 119)}…` : line;
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
}

async function devnoOf(device: string): Promise<string | null> {
  const info = await stat(device).catch(() => null);
  return info === null || !info.isBlockDevice() ? null : formatDevno(info.rdev);
}
