// SPDX-License-Identifier: Apache-2.0
// Where containers live. OpenVZ's places by default; one option or PLOOP_VZ_ROOT moves all of them below one directory:
//
//   default              with DIR           what
//   /vz/private/CTID     DIR/private/CTID   the container's own: root.hdd/ is its image
//   /vz/root/CTID        DIR/root/CTID      where the root file system is mounted
//   /etc/vz/conf         DIR/conf           CTID.conf
//   /vz/template/cache   DIR/template/cache template tarballs
//
// Run state (runtime state, bundles, logs, locks) is below <run>/vz, where <run> is /run/ploop or PLOOP_RUN_DIR.

import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';

import { runDirectory } from '../../attach/run-directory.js';
import { checkCtid } from './ctid.js';

export interface VzRoots {
  privateDir: string;
  rootDir: string;
  confDir: string;
  cacheDir: string;
  /** The run directory, as for attachments. */
  runDir: string;
  /** Added to runtime ids and cgroup names: empty for the default places, else a hash of them, so that no two sets of roots meet. */
  suffix: string;
}

export interface VzRootOptions {
  /** Default: $PLOOP_VZ_ROOT, or OpenVZ's own places. */
  vzRoot?: string | undefined;
  /** Default: $PLOOP_RUN_DIR, or /run/ploop. */
  runDir?: string | undefined;
}

export function vzRoots(options: VzRootOptions = {}): VzRoots {
  const runDir = runDirectory({ runDir: options.runDir });
  const moved = options.vzRoot ?? process.env['PLOOP_VZ_ROOT'] ?? '';
  const base = moved === '' ? '/vz' : resolve(moved);
  const confDir = moved === '' ? '/etc/vz/conf' : join(base, 'conf');
  const standard = moved === '' && runDir === '/run/ploop';
  const hash = createHash('sha256').update(`${base}\0${runDir}`).digest('hex');
  return {
    privateDir: join(base, 'private'),
    rootDir: join(base, 'root'),
    confDir,
    cacheDir: join(base, 'template', 'cache'),
    runDir,
    suffix: standard ? '' : `.${hash.slice(0, 8)}`,
  };
}

/** All places of one container. */
export interface ContainerPaths {
  ctid: string;
  roots: VzRoots;
  privateDir: string;
  imageDir: string;
  /** Where `create` builds before the container exists. */
  stagingDir: string;
  /** Where a container from another host arrives before it exists here. */
  incomingDir: string;
  mountPoint: string;
  confFile: string;
  /** The container's name for the runtime, and of its cgroup below /ploop. */
  runtimeId: string;
  /** The OCI bundle and what else lives as long as the container runs. */
  bundleDir: string;
  /** What init writes to its output. */
  logFile: string;
  lockFile: string;
  /** There while a command mounts or unmounts the image: what a killed one left half-done is known by it. */
  markerFile: string;
}

export const IMAGE_NAME = 'root.hdd';

export function containerPaths(ctid: string, roots: VzRoots): ContainerPaths {
  checkCtid(ctid);
  const privateDir = join(roots.privateDir, ctid);
  const runtimeId = `${ctid}${roots.suffix}`;
  return {
    ctid,
    roots,
    privateDir,
    imageDir: join(privateDir, IMAGE_NAME),
    stagingDir: join(roots.privateDir, `.${ctid}.creating`),
    incomingDir: join(roots.privateDir, `.${ctid}.incoming`),
    mountPoint: join(roots.rootDir, ctid),
    confFile: join(roots.confDir, `${ctid}.conf`),
    runtimeId,
    bundleDir: join(roots.runDir, 'vz', 'bundle', runtimeId),
    logFile: join(roots.runDir, 'vz', 'log', runtimeId),
    lockFile: join(roots.runDir, 'vz', 'lock', runtimeId),
    markerFile: join(roots.runDir, 'vz', 'mounting', runtimeId),
  };
}
