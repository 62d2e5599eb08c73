// SPDX-License-Identifier: Apache-2.0
// The last round of a live copy: the file system is held still until all has arrived and, when there is something to hand
// over, until the operator's command has done that. Whatever fails, the source is thawed and goes on as before.

import { findAttachment } from '../attach/attachments.js';
import { reachableMounts } from '../attach/mounts.js';
import type { RunDirectoryOption } from '../attach/run-directory.js';
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { FREEZE_MAX_MS, withFrozen } from '../filesystem/freeze.js';

export interface LastRoundOptions extends RunDirectoryOption {
  /** The freeze ends after this long, whether all is done or not. Default 30 s. */
  maxPauseMs?: number | undefined;
  /**
   * A shell command that runs when the copy is complete and the source is still held still; told by its environment:
   * PLOOP_SOURCE, PLOOP_DESTINATION, PLOOP_MOUNT_POINT. When it fails, so does the copy.
   */
  handover?: string | undefined;
  /** What the command said, when it succeeded. */
  onHandover?: ((said: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** How long the file system was held still; null: the image is not mounted. */
export async function lastRound(
  dir: string,
  destination: string,
  work: () => Promise<void>,
  options: LastRoundOptions,
): Promise<number | null> {
  const { maxPauseMs = FREEZE_MAX_MS, signal, runDir } = options;
  const attachment = await findAttachment(dir, { runDir });
  const devno = attachment?.live === true ? attachment.devno : null;
  const [mount] = devno === null ? [] : await reachableMounts(devno);
  const mountPoint = mount?.mountPoint;
  const end = mountPoint === undefined ? undefined : performance.now() + maxPauseMs;
  const all = async (): Promise<void> => {
    await work();
    const env = { PLOOP_SOURCE: dir, PLOOP_DESTINATION: destination, PLOOP_MOUNT_POINT: mountPoint ?? '' };
    if (options.handover !== undefined) await handOver(options.handover, env, end, options);
  };
  if (mountPoint === undefined) {
    await all();
    return null;
  }
  return (await withFrozen(mountPoint, all, { maxMs: maxPauseMs, signal })).frozenMs;
}

/** It does not outlive the freeze: two would write to what was one image. */
async function handOver(command: string, env: Record<string, string>, end: number | undefined, options: LastRoundOptions): Promise<void> {
  const timeoutMs = end === undefined ? undefined : Math.max(1, Math.round(end - performance.now()));
  try {
    const { stdout, stderr } = await run('sh', ['-c', command], { env, timeoutMs, signal: options.signal });
    options.onHandover?.(`${stdout}${stderr}`.trim());
  } catch (error) {
    if (!(error instanceof PloopError) || error.code === 'INTERRUPTED') throw error;
    throw new PloopError(error.code, `the hand-over failed, and the source goes on: ${error.message}`, {
      hint: 'See whether the command has started anything at the destination.',
      details: error.details,
      cause: error,
    });
  }
}
