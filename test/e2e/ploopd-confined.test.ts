// SPDX-License-Identifier: Apache-2.0
// What keeper and worker have given up when they serve: capabilities, system calls, the host's files; and who may talk to them.
import { mkdir, readdir, readFile, readlink, rename, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { withLoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, createImage } from './device.js';

const MIB = 2 ** 20;
/** CAP_DAC_OVERRIDE and CAP_IPC_LOCK: csrc/ploopd/confine/confine.c says what for. */
const KEPT = (1n << 1n) | (1n << 14n);

let scratch: Scratch;
let dir: string;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = await createImage(scratch, 'image', 64 * MIB);
});
afterEach(() => scratch.clean());

/** Fields of /proc/PID/status. */
async function statusOf(pid: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return new Map(text.split('\n').map((line) => [line.split(':\t')[0] ?? '', line.split(':\t')[1] ?? '']));
}

async function expectConfined(pid: number): Promise<void> {
  const status = await statusOf(pid);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    expect(BigInt(`0x${status.get(set) ?? ''}`) & ~KEPT, `${set} of ${pid}`).toBe(0n);
  expect(status.get('NoNewPrivs')).toBe('1');
  expect(status.get('Seccomp')).toBe('2');
  const mounts = await readFile(`/proc/${pid}/mounts`, 'utf8');
  expect(mounts).toMatch(/^ploop \/ tmpfs ro,[^\n]*\n$/);
  expect(await readdir(`/proc/${pid}/root`)).toEqual([]);
  expect(await readlink(`/proc/${pid}/ns/mnt`)).not.toBe(await readlink('/proc/self/ns/mnt'));
}

/** The directories that a process holds open, as device:inode. */
async function directoriesOf(pid: number): Promise<string[]> {
  const all = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => stat(`/proc/${pid}/fd/${fd}`).catch(() => null)));
  return [...new Set(all.filter((one) => one?.isDirectory() === true).map((one) => `${one?.dev}:${one?.ino}`))];
}

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('keeper and worker of an attached image', () => {
  it('have few capabilities, no way to more, listed system calls and no files of the host', async () => {
    const image = await attach(scratch, dir);
    await expectConfined(image.keeper);
    await expectConfined(image.worker);
    await image.killWorker();
    const { worker } = await image.state();
    await expectConfined(worker);
    const own = await stat(dir);
    expect(await directoriesOf(worker)).toEqual([`${own.dev}:${own.ino}`]);
    await run('dd', ['if=/dev/zero', `of=${image.device}`, 'bs=1M', 'count=8', 'oflag=direct', 'status=none']);
    await image.detach();
    expect(await readdir(scratch.runDir)).toEqual([]);
  });

  it('keep nobody from unmounting what was mounted when they started', async () => {
    await withLoopDisk(16 * MIB, async (disk) => {
      await run('mkfs.ext4', ['-q', disk.device]);
      await run('mount', [disk.device, disk.mountPoint]);
      await attach(scratch, dir);
      await run('umount', [disk.mountPoint]);
      // Exclusive: fails while the file system lives on in any mount namespace. (Other processes of the host may have just made one.)
      const free = async (): Promise<number | null> => (await run('mkfs.ext4', ['-q', '-F', disk.device], { accept: 'any' })).exitCode;
      await expect.poll(free, { timeout: 20_000 }).toBe(0);
      await run('losetup', ['--detach', disk.device]);
      expect((await run('losetup', ['--associated', disk.file])).stdout).toBe('');
    });
  });

  it('keep the file system of the image from being unmounted', async () => {
    await withLoopDisk(32 * MIB, async (disk) => {
      await run('mkfs.ext4', ['-q', disk.device]);
      await run('mount', [disk.device, disk.mountPoint]);
      const onDisk = join(disk.mountPoint, 'image');
      await native.create(onDisk, { size: 64 * MIB });
      const image = await attach(scratch, onDisk);
      expect((await run('umount', [disk.mountPoint], { accept: 'any' })).stderr).toMatch(/busy/);
      await image.detach();
      await run('umount', [disk.mountPoint]);
    });
  });

  it('talk to root only; what they make is for root only', async () => {
    const image = await attach(scratch, dir);
    const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
    expect(await modeOf(image.folder)).toBe(0o700);
    for (const name of ['control', 'state.json', 'log', 'keeper.pid']) expect(await modeOf(join(image.folder, name)), name).toBe(0o600);
    await ploop('snapshot', dir);
    const layers = await readdir(join(dir, 'layers'));
    expect(layers).toHaveLength(2);
    for (const layer of layers) expect(await modeOf(join(dir, 'layers', layer)), layer).toBe(0o600);
    for (const name of ['image.json', 'lock']) expect(await modeOf(join(dir, name)), name).toBe(0o600);
  });
});

describe.skipIf(lacks('root', 'fuse', 'loop'))('symbolic links in an image', () => {
  it.each(['image.json', 'lock', 'layers', 'the layer'])('are refused: %s', async (what) => {
    const name = what === 'the layer' ? join('layers', (await readdir(join(dir, 'layers')))[0] ?? '') : what;
    await mkdir(scratch.path('elsewhere'));
    await ploop('info', dir); // makes the lock file
    await rename(join(dir, name), scratch.path('elsewhere/it'));
    await symlink(scratch.path('elsewhere/it'), join(dir, name));
    for (const command of ['attach', 'check', 'snapshot']) {
      const refused = await ploop(command, dir);
      expect(refused.status, `${command}: ${refused.stderr}`).not.toBe(0);
      expect(refused.stdout + refused.stderr).toMatch(/symbolic link|not an image/);
    }
    expect(await readdir(scratch.runDir)).toEqual([]);
  });
});
