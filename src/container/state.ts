// SPDX-License-Identifier: Apache-2.0
// What a container is at this moment: does it exist, is it mounted, and what its runtime says about it.

import { realpath } from 'node:fs/promises';

import { readMounts } from '../attach/mounts.js';
import { PloopError } from '../errors.js';
import { locateContainer } from './place/locate.js';
import type { ContainerPaths, VzRootOptions } from './place/roots.js';
import { recordedRuntime, type Runtime, runtimeState, type RuntimeStatus } from './runtime/driver.js';

/** The container as OpenVZ's `status` names it: "CTID 101 exist mounted running". */
export interface ContainerState {
  ctid: string;
  exists: boolean;
  mounted: boolean;
  running: boolean;
  /** The runtime's own word, null when it knows no such container. */
  runtimeStatus: RuntimeStatus | null;
  /** Process 1 of the container as the host sees it. */
  pid: number | null;
  /** Which runtime, when there is a container. */
  runtime: string | null;
}

/** Of any id: one that does not exist is an answer, too. */
export async function containerState(ctid: string, options: VzRootOptions = {}): Promise<ContainerState> {
  const { paths, config } = await locateContainer(ctid, options);
  const [mounted, live] = await Promise.all([isMounted(paths), liveContainer(paths)]);
  return {
    ctid,
    exists: config !== null,
    mounted,
    running: isRunning(live),
    runtimeStatus: live?.status ?? null,
    pid: live !== null && live.pid > 0 ? live.pid : null,
    runtime: live?.runtime.path ?? null,
  };
}

export interface LiveContainer {
  runtime: Runtime;
  status: RuntimeStatus;
  pid: number;
}

/** What the runtime that made the container says of it; null when it does not know it (any more). */
export async function liveContainer(paths: ContainerPaths): Promise<LiveContainer | null> {
  const runtime = await recordedRuntime(paths);
  if (runtime === null) return null;
  const state = await runtimeState(runtime);
  return state === null ? null : { runtime, ...state };
}

/** A frozen container is not stopped. One between `create` and `start` of the runtime is not running yet. */
export function isRunning(live: LiveContainer | null): live is LiveContainer & { status: 'running' | 'paused' } {
  return live !== null && (live.status === 'running' || live.status === 'paused');
}

export async function isMounted(paths: ContainerPaths): Promise<boolean> {
  const path = await realpath(paths.mountPoint).catch(() => paths.mountPoint);
  return (await readMounts()).some((mount) => mount.mountPoint === path);
}

/** The running container; otherwise CONTAINER_STOPPED. */
export async function requireRunning(paths: ContainerPaths): Promise<LiveContainer> {
  const live = await liveContainer(paths);
  if (isRunning(live)) return live;
  throw new PloopError('CONTAINER_STOPPED', `container ${paths.ctid} is not running`, { hint: `Start it with: vzctl start ${paths.ctid}` });
}

/** Refuses when the container runs; `doing` completes the sentence. */
export async function requireStopped(paths: ContainerPaths, doing: string): Promise<void> {
  if (!isRunning(await liveContainer(paths))) return;
  throw new PloopError('CONTAINER_RUNNING', `container ${paths.ctid} is running; ${doing}`, {
    hint: `Stop it first: vzctl stop ${paths.ctid}`,
  });
}
