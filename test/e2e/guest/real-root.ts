// SPDX-License-Identifier: Apache-2.0
// In the guest: runs another script with the root that container runtimes want.
//
// The guest runs us under chroot, and what joins a container's mount namespace there does not see the container's root. So the
// chroot's directory is moved to be the root of a mount namespace of its own. Few imports: all is slow in an emulated guest.
import { execFileSync } from 'node:child_process';

const inner = [process.execPath, '--import', 'tsx', ...process.argv.slice(2)].join(' ');
const script = `cd /new && mount --move . / && exec chroot . /bin/sh -c 'cd ${process.cwd()} && exec ${inner}'`;
const busybox = '/bin/busybox';
execFileSync('mount', ['-t', 'cgroup2', 'none', '/sys/fs/cgroup']);
const enter = ['--target', '1', '--mount', '--root', busybox, 'unshare', '-m', busybox, 'sh', '-c', script];
process.stdout.write(execFileSync('nsenter', enter, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }));
