// SPDX-License-Identifier: Apache-2.0
// A tiny root file system (2 MiB) made of busybox alone: boots with /sbin/init, has a shell and some 250 commands. For
// tests, demonstrations and a first look without a download.
import { copyFile, chmod, mkdir, mkdtemp, open, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, extname, join, resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { findProgram } from '../exec/find.js';
import { run } from '../exec/run.js';
import type { Template } from './cache.js';
import { templateNameOf } from './cache.js';

export interface BusyboxOptions {
  signal?: AbortSignal | undefined;
}

const DIRECTORIES = [
  'bin',
  'dev',
  'etc/init.d',
  'home',
  'mnt',
  'opt',
  'proc',
  'root',
  'run',
  'sbin',
  'srv',
  'sys',
  'tmp',
  'usr/bin',
  'usr/sbin',
  'var/log',
  'var/tmp',
];
const MODES: Readonly<Record<string, number>> = {
  root: 0o700,
  tmp: 0o1777,
  'var/tmp': 0o1777,
  'etc/shadow': 0o600,
  'etc/init.d/rcS': 0o755,
};

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd':
    'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n',
  'etc/group': 'root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n',
  'etc/shadow': 'root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n',
  'etc/hostname': 'busybox\n',
  'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  'etc/os-release': 'NAME="BusyBox"\nID=busybox\nPRETTY_NAME="BusyBox (ploop built-in template)"\n',
  'etc/profile': 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n',
  'etc/fstab': '',
  'etc/shells': '/bin/sh\n',
  // No getty: a container has no console of its own. No umount at shutdown: the file system is the host's to unmount.
  'etc/inittab': '::sysinit:/etc/init.d/rcS\n::restart:/sbin/init\n::ctrlaltdel:/sbin/reboot\n',
  'etc/init.d/rcS':
    '#!/bin/sh\n# What should run at boot goes here.\n[ -s /etc/hostname ] && hostname -F /etc/hostname 2>/dev/null\nexit 0\n',
};

const COMPRESS: Readonly<Record<string, string>> = { '.tar': '', '.gz': '--gzip', '.xz': '--xz', '.zst': '--zstd' };

/** Writes the tarball `file` (NAME.tar, .tar.gz, .tar.xz or .tar.zst); a file of that name is replaced. */
export async function makeBusyboxTemplate(file: string, options: BusyboxOptions = {}): Promise<Template> {
  const path = resolve(file);
  const compress = COMPRESS[extname(path)];
  const name = templateNameOf(path.slice(dirname(path).length + 1));
  if (compress === undefined || name === undefined) {
    throw new PloopError('INVALID_ARGUMENT', `template: ${file} does not end in .tar, .tar.gz, .tar.xz or .tar.zst`);
  }
  const busybox = await findProgram('busybox');
  await checkStatic(busybox);
  const directory = await mkdtemp(join(tmpdir(), 'ploop-busybox-'));
  const partial = `${path}.${process.pid}.partial`;
  try {
    await fill(directory, busybox, options);
    const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
    await run(
      'tar',
      ['--create', `--file=${partial}`, ...same, ...(compress === '' ? [] : [compress]), `--directory=${directory}`, '.'],
      options,
    );
    await rename(partial, path);
    return { name, path, sizeBytes: (await stat(path)).size };
  } finally {
    await rm(partial, { force: true });
    await rm(directory, { recursive: true, force: true });
  }
}

async function fill(root: string, busybox: string, options: BusyboxOptions): Promise<void> {
  for (const path of DIRECTORIES) await mkdir(join(root, path), { recursive: true });
  for (const [path, text] of Object.entries(FILES)) await writeFile(join(root, path), text);
  await copyFile(busybox, join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  await chmod(root, 0o755);
  for (const [path, mode] of Object.entries(MODES)) await chmod(join(root, path), mode);
  const { stdout } = await run(busybox, ['--list-full'], options);
  for (const applet of stdout.split('\n').filter((line) => line !== '' && line !== 'bin/busybox')) {
    const link = join(root, applet);
    await mkdir(dirname(link), { recursive: true });
    await symlink('/bin/busybox', link);
  }
  // Not every build lists init at this path.
  await symlink('/bin/busybox', join(root, 'sbin/init')).catch(ignoreExisting);
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

const PT_INTERP = 3;

/** A dynamically linked busybox (Debian's package "busybox") would not start in a root without libraries. */
async function checkStatic(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(4096);
    await file.read(head, 0, head.length, 0);
    // 64-bit ELF: program headers of `size` bytes each, their type in the first four.
    const [at, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
    const types = Array.from({ length: count }, (_, index) => at + index * size).filter((offset) => offset + 4 <= head.length);
    if (!types.some((offset) => head.readUInt32LE(offset) === PT_INTERP)) return;
  } finally {
    await file.close();
  }
  throw new PloopError('TOOL_MISSING', `${path} needs shared libraries; the template needs a static busybox`, {
    hint: 'Install it with: apt-get install busybox-static',
  });
}
