// SPDX-License-Identifier: Apache-2.0
// What the machine has. A test that needs something it lacks is skipped by name; PLOOP_REQUIRE=word,... turns that into a failure.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const PROBES = {
  root: () => process.getuid?.() === 0,
  fuse: () => existsSync('/dev/fuse'),
  loop: () => existsSync('/dev/loop-control'),
  blkio: () => existsSync('/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device'),
  ext4: () => hasFileSystem('ext4'),
  xfs: () => hasFileSystem('xfs'),
  btrfs: () => hasFileSystem('btrfs') && hasProgram('mkfs.btrfs'),
  fio: () => hasProgram('fio'),
  sqlite3: () => hasProgram('sqlite3'),
  systemd: () => hasProgram('systemd-analyze'),
  python3: () => hasProgram('python3'),
  libnbd: () => ['nbdinfo', 'nbdcopy'].every(hasProgram) && spawnSync('/usr/bin/python3', ['-c', 'import nbd']).status === 0,
  'qemu-img': () => ['qemu-img', 'qemu-io'].every(hasProgram),
  'nbd-client': () => hasProgram('nbd-client'),
  certtool: () => ['certtool', 'psktool'].every(hasProgram),
  strace: () => hasProgram('strace'),
  sshd: () => existsSync('/usr/sbin/sshd') && ['ssh', 'ssh-keygen'].every(hasProgram),
  mmdebstrap: () => hasProgram('mmdebstrap'),
  runtime: () => hasProgram('runc') || hasProgram('crun'),
  runc: () => hasProgram('runc'),
  crun: () => hasProgram('crun'),
  busybox: () => hasProgram('busybox'),
  guest: () => process.arch === 'x64' && ['qemu-system-x86_64', 'depmod', 'cpio', 'busybox'].every(hasProgram),
} as const;

export type Need = keyof typeof PROBES;

function hasFileSystem(name: string): boolean {
  return new RegExp(`\\b${name}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'));
}

function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/**
 * For `describe.skipIf(lacks('root', 'loop'))`: true when something is missing. Throws, and so fails the file, when
 * PLOOP_REQUIRE says that it has to be there.
 */
export function lacks(...needs: readonly Need[]): boolean {
  const missing = needs.filter((need) => !PROBES[need]());
  const required = new Set((process.env.PLOOP_REQUIRE ?? '').split(','));
  const wanted = missing.filter((need) => required.has(need));
  if (wanted.length > 0) throw new Error(`PLOOP_REQUIRE names ${wanted.join(', ')}, but this machine lacks it`);
  if (missing.length > 0) process.stderr.write(`skipped, this machine lacks: ${missing.join(', ')}\n`);
  return missing.length > 0;
}
