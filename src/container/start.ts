// SPDX-License-Identifier: Apache-2.0
// Starting and restarting a container: mount its image, write the bundle, let the runtime create and start it.

import type { ViaChoice } from '../attach/via.js';
import { PloopError } from '../errors.js';
import { nativeFile } from '../native/binding.js';
import { configuredLimits } from './limits.js';
import { requireUnmarked } from './move/mark.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { ContainerPaths, VzRootOptions } from './place/roots.js';
import { bundleConfig } from './runtime/bundle.js';
import { hostCgroups } from './runtime/cgroups.js';
import { chooseRuntime } from './runtime/choose.js';
import { deleteContainer, runtimeFor, startContainer as runtimeStart } from './runtime/driver.js';
import { detectInit, type InitKind } from './runtime/init.js';
import { isMounted, isRunning, liveContainer } from './state.js';
import { stopContainer, type StoppedContainer, type StopOptions } from './stop.js';
import { mountContainerImage, unmountContainerImage } from './storage.js';

export interface StartOptions extends VzRootOptions {
  /** "runc", "crun" or a path; default $PLOOP_RUNTIME, default by probe of the host's control groups. */
  runtime?: string | undefined;
  /** How the block device is made. Default: $PLOOP_VIA, or `auto`. */
  via?: ViaChoice | undefined;
  signal?: AbortSignal | undefined;
}

export interface StartedContainer {
  ctid: string;
  pid: number;
  runtime: string;
  init: InitKind;
}

/** Returns when init runs. When anything fails, the container is stopped and unmounted as before. */
export async function startContainer(ctid: string, options: StartOptions = {}): Promise<StartedContainer> {
  const { paths } = await requireContainer(ctid, options);
  return withContainerLock(paths, 'vzctl start', async () => {
    await requireUnmarked(ctid, options);
    return startLocked(ctid, options);
  });
}

/** Under the lock the configuration is read anew. */
export async function startLocked(ctid: string, options: StartOptions): Promise<StartedContainer> {
  const { paths, config } = await requireContainer(ctid, options);
  const cgroups = await hostCgroups();
  const program = await chooseRuntime(cgroups.mode, options.runtime);
  const fallbackInit = nativeFile('ploop-init');
  await clearEnded(paths);
  const wasMounted = await isMounted(paths);
  await mountContainerImage(paths, { limits: configuredLimits(config), via: options.via, signal: options.signal });
  try {
    const init = await detectInit(paths.mountPoint);
    const runtime = runtimeFor(paths, program, cgroups);
    const hostname = config.get('HOSTNAME') || defaultHostname(paths.ctid);
    const { runtimeId, mountPoint: rootfs } = paths;
    options.signal?.throwIfAborted();
    await runtimeStart(runtime, bundleConfig({ runtimeId, rootfs, hostname, init, fallbackInit }), options.signal);
    const live = await liveContainer(paths);
    return { ctid: paths.ctid, pid: live?.pid ?? 0, runtime: program.path, init: init.kind };
  } catch (error) {
    if (!wasMounted) await unmountContainerImage(paths).catch(() => undefined);
    throw error;
  }
}

/** What is left of a container whose init has ended, or of a start that was cut short. */
async function clearEnded(paths: ContainerPaths): Promise<void> {
  const live = await liveContainer(paths);
  if (isRunning(live)) {
    throw new PloopError('CONTAINER_RUNNING', `container ${paths.ctid} is running already (process ${live.pid})`, {
      hint: `Look at it with: vzctl status ${paths.ctid}`,
      details: { pid: live.pid },
    });
  }
  if (live !== null) await deleteContainer(live.runtime);
}

/** "ct101" for a number; a name as it is, as far as hostnames allow. */
export function defaultHostname(ctid: string): string {
  return /^\d+$/.test(ctid) ? `ct${ctid}` : ctid.replace(/[^A-Za-z0-9-]/g, '-');
}

/** Stops it, if it runs, and starts it. */
export async function restartContainer(
  ctid: string,
  options: StartOptions & StopOptions = {},
): Promise<{ stopped: StoppedContainer; started: StartedContainer }> {
  const stopped = await stopContainer(ctid, options);
  return { stopped, started: await startContainer(ctid, options) };
}
