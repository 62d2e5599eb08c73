#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Brings a checkout into shape before `npm start` and `npm test`: Debian packages, npm packages, native build, TypeScript build.
// Needs nothing but Node. Does only what is not done yet: on a prepared checkout it takes about a second.
//
//   node bin/setup.mjs start    what building and running need
//   node bin/setup.mjs [test]   all that the tests need, too
//   node bin/setup.mjs bench    and what benchmarks compare with
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Every Debian package the project needs: [package, for what, why]. */
const PACKAGES = [
  ['build-essential', 'build', 'C and C++ compiler, make'],
  ['cmake', 'build', 'drives the native build'],
  ['pkg-config', 'build', 'finds the C libraries'],
  ['liburing-dev', 'build', 'io_uring: disk input and output'],
  ['libjansson-dev', 'build', 'JSON in the C core'],
  ['libisal-dev', 'build', 'CRC-32C'],
  ['libzstd-dev', 'build', 'compressed streams'],
  ['libxxhash-dev', 'build', 'checksums over whole streams'],
  ['libgnutls28-dev', 'build', 'TLS of network block devices'],
  ['e2fsprogs', 'run', 'ext4: mkfs, fsck, resize2fs'],
  ['xfsprogs', 'run', 'xfs: mkfs, repair, growfs'],
  ['mount', 'run', 'mount, umount, losetup'],
  ['util-linux', 'run', 'fstrim, fsfreeze, unshare'],
  ['tar', 'run', 'root file systems from tarballs'],
  ['gzip', 'run', 'compressed templates'],
  ['bzip2', 'run', 'compressed templates'],
  ['xz-utils', 'run', 'compressed templates'],
  ['zstd', 'run', 'compressed templates'],
  ['runc', 'run', 'container runtime for cgroup v1 and hybrid hosts'],
  ['crun', 'run', 'container runtime for cgroup v2 hosts'],
  ['iproute2', 'run', 'network of containers'],
  ['busybox-static', 'run', 'the built-in template of the demo'],
  ['btrfs-progs', 'test', 'a host whose file system shares extents'],
  ['mmdebstrap', 'test', 'a real Debian root file system'],
  ['fio', 'test', 'verified random reads and writes'],
  ['libnbd-bin', 'test', 'NBD clients'],
  ['python3-libnbd', 'test', 'NBD clients'],
  ['qemu-utils', 'test', 'NBD clients, qcow2 images'],
  ['nbd-client', 'test', "the kernel's NBD client"],
  ['gnutls-bin', 'test', 'certificates for NBD clients'],
  ['nbdkit', 'test', 'an NBD server to compare with'],
  ['openssh-server', 'test', 'copies to another host; the tests start an sshd of their own'],
  ['strace', 'test', 'counts system calls'],
  ['attr', 'test', 'extended attributes of a populated file system'],
  ['acl', 'test', 'access control lists of a populated file system'],
  ['libcap2-bin', 'test', 'file capabilities of a populated file system'],
  ['groff-base', 'test', 'checks the manual pages'],
  ['qemu-system-x86', 'test', 'a guest kernel with all capabilities, nbd and ublk'],
  ['kmod', 'test', 'the modules of the guest kernel'],
  ['cpio', 'test', 'the initramfs of the guest kernel'],
  ['qemu-system-common', 'bench', 'qemu-storage-daemon, to compare with'],
  ['sqlite3', 'test', 'commits of a database in an image'],
  ['linux-perf', 'bench', 'counts what the kernel does for a flush'],
];

const root = realpathSync(join(dirname(fileURLToPath(import.meta.url)), '..'));
const USES = { start: ['build', 'run'], test: ['build', 'run', 'test'], bench: ['build', 'run', 'test', 'bench'] };
const wanted = USES[process.argv[2] ?? 'test'] ?? USES.test;

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** Runs a program; what it says is shown only when it fails. */
function run(program, args, env = {}) {
  const done = spawnSync(program, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, ...env },
  });
  if (done.error) fail(`${program}: ${done.error.message}`);
  if (done.status !== 0) process.stderr.write(done.stdout + done.stderr);
  return done.status === 0;
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) fail(`Node ${process.versions.node} is too old; 20.19 or newer is needed.`);
}

function missingPackages() {
  const names = PACKAGES.filter(([, use]) => wanted.includes(use)).map(([name]) => name);
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${Status}\n', ...names], { encoding: 'utf8' });
  if (query.error) {
    say(`not a Debian system; these packages or their like are needed: ${names.join(' ')}`);
    return [];
  }
  const installed = new Set(
    query.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return names.filter((name) => !installed.has(name));
}

function installPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (process.getuid() !== 0)
    fail(`Debian packages are missing. Install them as root, then start again:\n  apt-get install ${missing.join(' ')}`);
  say(`installing Debian packages: ${missing.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  if (!run('apt-get', ['-qq', 'update'], env)) say('apt-get update failed; trying with the lists at hand');
  const options = ['-qq', '-y', '--no-install-recommends', '-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=120'];
  if (!run('apt-get', [...options, 'install', ...missing], env)) fail(`apt-get could not install: ${missing.join(' ')}`);
}

/** Is node_modules what the lock file says? Packages for other platforms are optional and may be absent. */
function modulesMatchLock() {
  const installedPath = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages;
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(locked).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const there = installed[path];
    return there === undefined ? optional === true : there.version === version && existsSync(join(root, path, 'package.json'));
  });
}

function installModules() {
  if (modulesMatchLock()) return;
  say('installing npm packages');
  if (!run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'])) fail('npm ci failed');
}

/** A build directory that came with a copied checkout would silently build the old one. */
function dropForeignBuild(directory) {
  const cache = join(directory, 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (home === root) return;
  say(`dropping ${directory}: it was configured for ${home}`);
  rmSync(directory, { recursive: true });
}

function build() {
  const program = (name) => join(root, 'node_modules/.bin', name);
  dropForeignBuild(join(root, 'build/native'));
  dropForeignBuild(join(root, 'build/asan'));
  if (!existsSync(join(root, 'build/native/CMakeCache.txt'))) say('building');
  if (!run(program('cmake-js'), ['build', '--out', 'build/native', '--log-level', 'warn', '--parallel', '2']))
    fail('the native build failed');
  if (!run(program('tsc'), ['-p', 'tsconfig.build.json'])) fail('the TypeScript build failed');
}

checkNode();
installPackages();
installModules();
build();
