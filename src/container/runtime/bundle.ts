// SPDX-License-Identifier: Apache-2.0
// The OCI bundle of a container: config.json for a system container, which boots an init and is stopped through it.
//
// What root inside may do is the usual default of container runtimes, plus what an init needs: CAP_SYS_BOOT (halting ends
// the container's pid namespace, never the host) and CAP_NET_ADMIN (in a network namespace of its own). No CAP_SYS_ADMIN:
// without a user namespace it would be the host's. For the same reason /proc/sys and the like are read-only, and the
// control groups are writable only for systemd, which does not boot otherwise.

import { cgroupPath } from './cgroups.js';
import { type ContainerInit, FALLBACK_INIT } from './init.js';

const CAPABILITIES = (
  'CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT AUDIT_WRITE ' +
  'NET_ADMIN SYS_BOOT'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const MASKED = ['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'];
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'];

export interface BundleParams {
  runtimeId: string;
  rootfs: string;
  hostname: string;
  init: ContainerInit;
  /** The host's path of ploop-init; used when the root has no init. */
  fallbackInit: string;
}

interface Mount {
  destination: string;
  type: string;
  source: string;
  options?: string[];
}

/** config.json as an object. */
export function bundleConfig(params: BundleParams): Record<string, unknown> {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [params.init.path],
      env: [`PATH=${DEFAULT_PATH}`, 'container=oci', 'TERM=linux'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: false,
    },
    root: { path: params.rootfs, readonly: false },
    hostname: params.hostname,
    mounts: mounts(params),
    linux: {
      cgroupsPath: cgroupPath(params.runtimeId),
      // The runtime adds the standard devices (null, zero, full, random, urandom, tty, ptmx, pts) to what is allowed.
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      namespaces: ['pid', 'mount', 'uts', 'ipc', 'network', 'cgroup'].map((type) => ({ type })),
      maskedPaths: [...MASKED.map((name) => `/proc/${name}`), '/sys/firmware'],
      readonlyPaths: READ_ONLY.map((name) => `/proc/${name}`),
    },
  };
}

function mounts({ init, fallbackInit }: BundleParams): Mount[] {
  const cgroupAccess = init.kind === 'systemd' ? 'rw' : 'ro';
  const list: Mount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=50%'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'relatime', cgroupAccess] },
    { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=755', 'size=20%'] },
    { destination: '/run/lock', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', 'mode=1777', 'size=5m'] },
  ];
  if (init.kind === 'fallback')
    list.push({ destination: FALLBACK_INIT, type: 'bind', source: fallbackInit, options: ['bind', 'ro', 'nosuid', 'nodev'] });
  return list;
}
