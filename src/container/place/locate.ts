// SPDX-License-Identifier: Apache-2.0
// From an id to the places and the configuration of its container. The configuration may move two of the places, as on
// OpenVZ: VE_PRIVATE="/somewhere/$VEID" and VE_ROOT="/elsewhere/$VEID".

import { isAbsolute, join, normalize } from 'node:path';

import { PloopError } from '../../errors.js';
import { type ContainerConfig, readConfig } from './config.js';
import { type ContainerPaths, containerPaths, IMAGE_NAME, vzRoots, type VzRootOptions } from './roots.js';

export interface Located {
  paths: ContainerPaths;
  /** null: there is no such container. */
  config: ContainerConfig | null;
}

export async function locateContainer(ctid: string, options: VzRootOptions = {}): Promise<Located> {
  const paths = containerPaths(ctid, vzRoots(options));
  const config = await readConfig(paths.confFile);
  if (config === null) return { paths, config };
  const privateDir = place(paths, config, 'VE_PRIVATE') ?? paths.privateDir;
  const mountPoint = place(paths, config, 'VE_ROOT') ?? paths.mountPoint;
  return { paths: { ...paths, privateDir, imageDir: join(privateDir, IMAGE_NAME), mountPoint }, config };
}

/** A container that exists; otherwise CONTAINER_NOT_FOUND. */
export async function requireContainer(
  ctid: string,
  options: VzRootOptions = {},
): Promise<{ paths: ContainerPaths; config: ContainerConfig }> {
  const { paths, config } = await locateContainer(ctid, options);
  if (config !== null) return { paths, config };
  throw new PloopError('CONTAINER_NOT_FOUND', `container ${ctid} does not exist: there is no ${paths.confFile}`, {
    hint: `List the containers with: vzlist -a. Create it with: vzctl create ${ctid} --ostemplate NAME`,
  });
}

function place(paths: ContainerPaths, config: ContainerConfig, key: 'VE_PRIVATE' | 'VE_ROOT'): string | undefined {
  const value = config.get(key);
  if (value === undefined || value === '') return undefined;
  const path = normalize(value.replace(/\$(?:VEID\b|\{VEID\})/g, paths.ctid));
  if (isAbsolute(path)) return path.replace(/(.)\/$/, '$1');
  throw new PloopError('INVALID_ARGUMENT', `${paths.confFile}: ${key}="${value}" is not an absolute path`);
}
