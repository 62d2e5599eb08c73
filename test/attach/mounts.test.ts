// SPDX-License-Identifier: Apache-2.0
// Where devices are mounted, and who uses them: parsed lines, and a real mount with real processes on it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, open, stat } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { formatDevno } from '../../src/attach/devno.js';
import { mountPointsOf, parseMountinfo, reachableMounts } from '../../src/attach/mounts.js';
import { usersElsewhere, usersOfMountPoint, usersSentence } from '../../src/attach/users.js';
import { run } from '../../src/exec/run.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

describe('mountinfo', () => {
  it('undoes the escapes of odd names and passes over optional fields', () => {
    const text =
      '36 35 7:3 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - ext4 /dev/loop3 rw,errors=continue\n' +
      '37 35 0:21 /sub /proc rw - proc proc rw\nnonsense\n\n';
    expect(parseMountinfo(text)).toEqual([
      { devno: '7:3', root: '/', mountPoint: '/mnt/a b\\c', options: 'rw,noatime', type: 'ext4', source: '/dev/loop3' },
      { devno: '0:21', root: '/sub', mountPoint: '/proc', options: 'rw', type: 'proc', source: 'proc' },
    ]);
  });

  it('writes device numbers as the kernel does, large ones too', () => {
    expect(formatDevno(0x0703)).toBe('7:3');
    expect(formatDevno(2 ** 20 * 0x12 + 0x0700)).toBe(`7:${0x1200}`);
  });
});

describe.skipIf(lacks('root'))('users of a mount point', () => {
  let scratch: Scratch;
  let mountPoint: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    scratch = await makeScratch();
    mountPoint = scratch.path('a mount');
    await mkdir(mountPoint);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=8M', 'ploop-test', mountPoint]);
  });

  async function endChildren(): Promise<void> {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null)));
  }

  afterAll(async () => {
    await endChildren();
    await run('umount', [mountPoint], { accept: 'any' });
    await scratch.clean();
  });

  async function started(program: string, args: string[], options: { cwd?: string; stdin?: number } = {}): Promise<number> {
    const child = spawn(program, args, { cwd: options.cwd ?? '/', stdio: [options.stdin ?? 'ignore', 'ignore', 'ignore'] });
    children.push(child);
    await once(child, 'spawn');
    return child.pid ?? 0;
  }

  it('knows where its device is mounted', async () => {
    expect(await mountPointsOf(formatDevno((await stat(mountPoint)).dev))).toEqual([mountPoint]);
  });

  it('finds processes by working directory, open file and program, with their command lines', async () => {
    const file = await open(`${mountPoint}/open file`, 'w+');
    await copyFile('/bin/sleep', `${mountPoint}/nap`);
    await chmod(`${mountPoint}/nap`, 0o755);
    const byDirectory = await started('sleep', ['1001'], { cwd: mountPoint });
    const byFile = await started('sleep', ['1002'], { stdin: file.fd });
    const byProgram = await started(`${mountPoint}/nap`, ['1003']);
    await file.close();

    const users = await usersOfMountPoint(mountPoint);
    const how = new Map(users.map((user) => [user.pid, user]));
    expect(how.get(byDirectory)).toMatchObject({ how: 'working directory', command: 'sleep 1001', path: mountPoint });
    expect(how.get(byFile)).toMatchObject({ how: 'open file', command: 'sleep 1002', path: `${mountPoint}/open file` });
    expect(how.get(byProgram)).toMatchObject({ how: 'mapped file', command: `${mountPoint}/nap 1003` });
    expect(usersSentence(users, 1)).toMatch(/^sleep 1001 \(pid \d+, working directory .*\) and \d more$/);
  });

  it('is found in another mount namespace, with who lives there, when it is mounted here no more', async () => {
    await endChildren();
    const devno = formatDevno((await stat(mountPoint)).dev);
    expect(await usersElsewhere(devno)).toEqual([]);
    const apart = ['--mount', '--propagation', 'private', 'sh', '-c', 'cd "$1"; echo ready; exec sleep 1004', 'sh', mountPoint];
    const child = spawn('unshare', apart, { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    const tie = { pid: child.pid, how: 'working directory' };
    await expect.poll(() => usersElsewhere(devno)).toMatchObject([{ ...tie, command: 'sleep 1004' }]);
    expect((await reachableMounts(devno)).map((mount) => mount.mountPoint)).toEqual([mountPoint]);
    await run('umount', [mountPoint]);
    // Of any namespace that has it: one that another program made while it was mounted here has a copy.
    const [there] = await reachableMounts(devno);
    expect(there?.mountPoint.replace(/^\/proc\/\d+\/root/, '')).toBe(mountPoint);
    expect(formatDevno((await stat(`/proc/${child.pid}/root${mountPoint}`)).dev)).toBe(devno);
  });

  it('finds nobody on a mount that nobody uses', async () => {
    expect(await usersOfMountPoint('/nowhere')).toEqual([]);
  });
});
