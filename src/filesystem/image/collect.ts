// SPDX-License-Identifier: Apache-2.0
// Temporary snapshots whose holder has ended are deleted by whatever works on the image next. They are only hidden then: the
// layer of an attached image is merged in the background, that of a detached one when it is attached, so nobody waits for
// it. One that is attached (mounted, exported) is kept until it is not. What fails is told and tried again by the next command.
import { attachmentsOf } from '../../attach/attachments.js';
import { deleteSnapshot, hideSnapshot, listJobs } from '../../attach/jobs.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { type ListedSnapshot, listSnapshots } from '../../image/snapshots.js';

export interface CollectNote {
  /** Told of each temporary snapshot that was deleted, or could not be deleted now. */
  onNote?: ((text: string) => void) | undefined;
}

export interface CollectOptions extends RunDirectoryOption, CollectNote {
  /** Of a detached image: also merges what earlier deletions left, and waits for that. */
  merge?: boolean | undefined;
  /** Of that merging. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** The ids of those deleted. Never throws. */
export async function collectTemporary(dir: string, options: CollectOptions = {}): Promise<string[]> {
  const { onNote, signal } = options;
  const collected: string[] = [];
  for (const one of await collectable(dir, options)) {
    if (signal?.aborted === true) break;
    const said = `${dir}: temporary snapshot ${one.name ?? one.id}, whose holder has ended,`;
    try {
      const { live } = await hideSnapshot(dir, one.id, options);
      collected.push(one.id);
      const when = live ? 'in the background' : options.merge === true ? 'now' : 'when the image is attached';
      onNote?.(`${said} is deleted; its layer is merged ${when}`);
    } catch (error) {
      if (!isGone(error)) onNote?.(`${said} stays for now: ${(error as Error).message}`);
    }
  }
  if (options.merge === true) await mergeLeft(dir, options);
  return collected;
}

async function collectable(dir: string, options: CollectOptions): Promise<ListedSnapshot[]> {
  try {
    const gone = (await listSnapshots(dir)).filter((one) => one.gone);
    if (gone.length === 0) return [];
    const attached = await attachmentsOf(dir, { runDir: options.runDir });
    return gone.filter((one) => attached.every(({ snapshot }) => snapshot !== one.id));
  } catch (error) {
    options.onNote?.(`${dir}: temporary snapshots stay for now, because it can not be seen which: ${(error as Error).message}`);
    return [];
  }
}

/** Another command was faster. */
function isGone(error: unknown): boolean {
  return error instanceof PloopError && (error.code === 'SNAPSHOT_NOT_FOUND' || error.code === 'NOT_FOUND');
}

async function mergeLeft(dir: string, options: CollectOptions): Promise<void> {
  const { runDir, onNote, onProgress, signal } = options;
  try {
    // One deletion merges what all left.
    const left = (await listJobs(dir, { runDir })).find(({ state }) => state === 'stopped');
    if (left !== undefined && signal?.aborted !== true) await deleteSnapshot(dir, left.id, { runDir, onProgress, signal });
  } catch (error) {
    onNote?.(`${dir}: layers of deleted snapshots are not merged yet: ${(error as Error).message}`);
  }
}
