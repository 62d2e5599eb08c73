// SPDX-License-Identifier: Apache-2.0
// Stopping a container: its init is asked in its own language and given time, then everything in it is killed; then its
// image is unmounted and detached, as on OpenVZ.

import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants } from 'node:os';

import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { ContainerPaths, VzRootOptions } from './place/roots.js';
import { deleteContainer, execArguments, killContainer, type Runtime, runtimeState } from './runtime/driver.js';
import { detectInit, type StopAction } from './runtime/init.js';
import { isMounted, isRunning, type LiveContainer, liveContainer } from './state.js';
import { unmountContainerImage } from './storage.js';

export interface StopOptions extends VzRootOptions {
  /** Kill at once instead of asking init. */
  fast?: boolean | undefined;
  /** How long init may take before everything is killed; default one minute. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface StoppedContainer {
  ctid: string;
  /** false: it was not running; what was left of it has been tidied up. */
  wasRunning: boolean;
  /** Everything in it was killed: asked for, or because init did not end in time. */
  killed: boolean;
  timedOut: boolean;
}

const TIMEOUT_MS = 60_000;
const KILL_TIMEOUT_MS = 20_000;

export async function stopContainer(ctid: string, options: StopOptions = {}): Promise<StoppedContainer> {
  const { paths } = await requireContainer(ctid, options);
  return withContainerLock(paths, 'vzctl stop', () => stopLocked(paths, options));
}

export async function stopLocked(paths: ContainerPaths, options: StopOptions): Promise<StoppedContainer> {
  const live = await liveContainer(paths);
  const wasRunning = isRunning(live);
  let timedOut = false;
  if (wasRunning && options.fast !== true) timedOut = !(await stopByInit(paths, live, options));
  const killed = wasRunning && (options.fast === true || timedOut);
  if (killed) await killAll(paths, live.runtime);
  if (live !== null) await deleteContainer(live.runtime);
  // A stop that was killed while it removed this may have left a part.
  else await rm(paths.bundleDir, { recursive: true, force: true });
  await unmountContainerImage(paths, { ran: live !== null });
  return { ctid: paths.ctid, wasRunning, killed, timedOut };
}

/** True when the container has ended by itself in time. */
async function stopByInit(paths: ContainerPaths, { runtime, pid }: LiveContainer, options: StopOptions): Promise<boolean> {
  // The host may have unmounted what the container still runs on.
  const root = (await isMounted(paths)) ? paths.mountPoint : `/proc/${pid}/root`;
  const { stop } = await detectInit(root);
  await askToStop(runtime, stop);
  return ended(runtime, options.timeoutMs ?? TIMEOUT_MS, options.signal).catch((error: unknown) => {
    if (options.signal?.aborted !== true) throw error;
    throw new PloopError('INTERRUPTED', `interrupted: the init of container ${paths.ctid} was told to stop, and may go on with that`, {
      hint: `Finish it with: vzctl stop ${paths.ctid}`,
      cause: error,
    });
  });
}

async function askToStop(runtime: Runtime, action: StopAction): Promise<void> {
  if ('signal' in action) return killContainer(runtime, action.signal);
  const [program, args] = await execArguments(runtime, { tty: false, env: [], args: action.command });
  // Its exit status means little: the container may be gone before it could be told.
  await run(program, args, { accept: 'any', timeoutMs: 10_000 }).catch(() => undefined);
}

async function killAll(paths: ContainerPaths, runtime: Runtime): Promise<void> {
  await killContainer(runtime, constants.signals.SIGKILL);
  if (await ended(runtime, KILL_TIMEOUT_MS)) return;
  throw new PloopError('TIMEOUT', `container ${paths.ctid} did not end within ${KILL_TIMEOUT_MS / 1000} s of being killed`, {
    hint: 'A process in it hangs in the kernel, most likely in input/output: look at dmesg.',
  });
}

async function ended(runtime: Runtime, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.5, 500)) {
    const state = await runtimeState(runtime);
    if (state === null || state.status === 'stopped') return true;
    if (Date.now() >= deadline) return false;
    await sleep(pauseMs, undefined, { signal });
  }
}
