// SPDX-License-Identifier: Apache-2.0
// Creating a container: its image is built beside its place and moved there when it is whole; the configuration, whose
// presence is the container's existence, is written last. Cut short at any point, it leaves nothing but what the next
// create of this id clears away.

import { randomUUID } from 'node:crypto';
import { access, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { PloopError } from '../errors.js';
import { type ContainerConfig, parseConfig, writeConfig } from './place/config.js';
import { locateContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import { type ContainerPaths, IMAGE_NAME, type VzRootOptions } from './place/roots.js';
import { refuseIncoming } from './move/mark.js';
import { defaultHostname } from './start.js';
import { buildContainerImage, releaseImage } from './storage.js';
import { resolveTemplate } from '../template/resolve.js';

export interface CreateContainerOptions extends VzRootOptions {
  /** Name of a template in the cache, or the path of a tarball. */
  ostemplate: string;
  /** Default 10 GiB. */
  diskspaceBytes?: number | undefined;
  /** Default: "ct" and the number, or the name. */
  hostname?: string | undefined;
  fs?: 'ext4' | 'xfs' | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface CreatedContainer {
  ctid: string;
  privateDir: string;
  mountPoint: string;
  confFile: string;
  ostemplate: string;
  hostname: string;
  diskspaceBytes: number;
}

const DEFAULT_DISKSPACE_BYTES = 10 * 1024 ** 3;

export async function createContainer(ctid: string, options: CreateContainerOptions): Promise<CreatedContainer> {
  const { paths, config } = await locateContainer(ctid, options);
  if (config !== null) throw existsError(paths);
  const hostname = checkHostname(options.hostname ?? defaultHostname(ctid));
  const template = await resolveTemplate(options.ostemplate, { cacheDir: paths.roots.cacheDir });
  const diskspaceBytes = options.diskspaceBytes ?? DEFAULT_DISKSPACE_BYTES;
  return withContainerLock(paths, 'vzctl create', async () => {
    // Another create may have been faster.
    if ((await locateContainer(ctid, options)).config !== null) throw existsError(paths);
    await checkPrivateIsFree(paths);
    await refuseIncoming(paths);
    await mkdir(paths.roots.privateDir, { recursive: true, mode: 0o700 });
    await mkdir(paths.roots.confDir, { recursive: true });
    await mkdir(paths.mountPoint, { recursive: true, mode: 0o700 });
    try {
      await build(paths, template.path, { ...options, diskspaceBytes });
      await publish(paths, newConfig(paths, { ostemplate: template.name, hostname, diskspaceBytes }));
    } catch (error) {
      await rmdir(paths.mountPoint).catch(() => undefined);
      throw error;
    }
    const { privateDir, mountPoint, confFile } = paths;
    return { ctid, privateDir, mountPoint, confFile, ostemplate: template.name, hostname, diskspaceBytes };
  });
}

async function build(paths: ContainerPaths, template: string, options: CreateContainerOptions & { diskspaceBytes: number }): Promise<void> {
  const image = join(paths.stagingDir, IMAGE_NAME);
  const discard = async (): Promise<void> => {
    await releaseImage(image, paths.roots);
    await rm(paths.stagingDir, { recursive: true, force: true });
  };
  await discard();
  await mkdir(paths.stagingDir, { mode: 0o700 });
  try {
    await buildContainerImage(image, {
      template,
      fs: options.fs ?? 'ext4',
      sizeBytes: options.diskspaceBytes,
      roots: paths.roots,
      ...progress(options),
    });
    options.signal?.throwIfAborted();
  } catch (error) {
    await discard().catch(() => undefined);
    throw error;
  }
}

async function publish(paths: ContainerPaths, config: ContainerConfig): Promise<void> {
  await rename(paths.stagingDir, paths.privateDir);
  try {
    await writeConfig(paths.confFile, config);
  } catch (error) {
    await rm(paths.privateDir, { recursive: true, force: true });
    throw error;
  }
}

function progress({ onProgress, signal }: CreateContainerOptions) {
  return { onProgress, signal };
}

async function checkPrivateIsFree(paths: ContainerPaths): Promise<void> {
  const free = await access(paths.privateDir).then(
    () => false,
    () => true,
  );
  if (free) return;
  throw new PloopError('EXISTS', `${paths.privateDir} exists, but container ${paths.ctid} has no ${basename(paths.confFile)}`, {
    hint: `Put its configuration back to ${paths.confFile}, or remove what is left of it with: vzctl destroy ${paths.ctid}`,
  });
}

function existsError(paths: ContainerPaths): PloopError {
  return new PloopError('EXISTS', `container ${paths.ctid} exists already (${paths.confFile})`, {
    hint: `Choose another id, or remove the container with: vzctl destroy ${paths.ctid}`,
  });
}

function newConfig(paths: ContainerPaths, settings: { ostemplate: string; hostname: string; diskspaceBytes: number }): ContainerConfig {
  const config = parseConfig('', paths.confFile);
  const kib = Math.ceil(settings.diskspaceBytes / 1024);
  config.set('VE_ROOT', join(paths.roots.rootDir, '$VEID'));
  config.set('VE_PRIVATE', join(paths.roots.privateDir, '$VEID'));
  config.set('VE_LAYOUT', 'ploop');
  config.set('OSTEMPLATE', settings.ostemplate);
  config.set('HOSTNAME', settings.hostname);
  config.set('DISKSPACE', `${kib}:${kib}`);
  config.set('ONBOOT', 'no');
  config.set('UUID', randomUUID());
  return config;
}

/** RFC 1123: labels of letters, digits and inner hyphens, 63 characters each; the kernel takes 64 in all. */
export function checkHostname(hostname: string): string {
  const label = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;
  if (hostname.length <= 64 && hostname.split('.').every((part) => label.test(part))) return hostname;
  throw new PloopError('INVALID_ARGUMENT', `--hostname: ${JSON.stringify(hostname)} is not a host name`, {
    hint: 'A host name has at most 64 characters: letters, digits, "-" and "." between its parts.',
  });
}
