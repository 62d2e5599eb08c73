// SPDX-License-Identifier: Apache-2.0
// Deleting snapshots, and the jobs that this leaves: an attached image merges in its ploopd, beside requests; a detached one in
// the addon, while the caller waits. What is interrupted is a hidden snapshot, and its id is the job's.
import { setTimeout as sleep } from 'node:timers/promises';

import { PloopError } from '../errors.js';
import { type ImageDescriptor, readDescriptor } from '../image/descriptor.js';
import { findHalfDeleted, findSnapshot } from '../image/snapshots.js';
import { checkInteger, checkOptions, checkPath, checkText } from '../native/arguments.js';
import { native, type NativeSnapshot } from '../native/index.js';
import { type Attachment, findAttachment } from './attachments.js';
import { askToGiveWay } from './compacting.js';
import { control, workerIsLost } from './control.js';
import { type NamedSnapshot, whileDetached } from './operations.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface DeleteSnapshotOptions extends RunDirectoryOption {
  /** Do not wait for the merge; an attached image goes on by itself. */
  background?: boolean | undefined;
  /** At most so many bytes a second are moved, by all merges of the image; 0 = no limit. Default: as those under way. */
  rateBytes?: number | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface DeletedSnapshot extends NamedSnapshot {
  /** False: the merge goes on in the background. */
  done: boolean;
  /** The layer stays, because other snapshots or clones need it. */
  kept: boolean;
}

export async function deleteSnapshot(dir: string, key: string, options: DeleteSnapshotOptions = {}): Promise<DeletedSnapshot> {
  checkOptions('snapshot-delete', options, ['runDir', 'background', 'rateBytes', 'onProgress', 'signal']);
  const { onProgress, signal, background = false } = options;
  const rate = options.rateBytes === undefined ? {} : { rate: checkInteger('snapshot-delete: rateBytes', options.rateBytes) };
  const { id, name } = findDeletable(await readDescriptor(dir), key);
  const attachment = await attachedTop(dir, options);
  if (attachment !== null) {
    await askToGiveWay(attachment);
    const request = { snapshot: id, ...rate, background };
    const ask = (to: Attachment): ReturnType<typeof control<'delete'>> =>
      control(to, 'delete', request, { signal, onProgress, timeoutMs: 0 });
    const answer = await throughWorkers(dir, attachment, ask, options).catch((error: unknown) => {
      throw withRoomHint(dir, error);
    });
    return { id, name: name || null, done: answer?.done ?? true, kept: answer?.kept ?? false };
  }
  const work = { ...rate, ...(onProgress === undefined ? {} : { onProgress }), ...(signal === undefined ? {} : { signal }) };
  await pastGlances(
    () => whileDetached(dir, () => native.deleteSnapshot(dir, id, work), { ...options, doing: 'deleting a snapshot' }),
    signal,
  );
  const kept = findHalfDeleted(await readDescriptor(dir), id) !== undefined;
  return { id, name: name || null, done: true, kept };
}

const GLANCE_MS = 5000;
const LOOK_MS = 50;

/** `ploop info`, say, reads a layer for a moment, and no deletion of a detached image is to fail for that; the job of an attached one waits. */
async function pastGlances(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const endMs = performance.now() + GLANCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const glance = error instanceof PloopError && error.code === 'BUSY' && error.message.includes('is being read by somebody else');
      if (!glance || performance.now() > endMs || signal?.aborted === true) throw error;
      await sleep(LOOK_MS);
    }
  }
}

/** Who deletes snapshots may do it for the room: there is a way that takes none. */
function withRoomHint(dir: string, error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'NO_SPACE' || error.hint !== undefined) return error;
  // While the disk itself waits for room nothing else is done, and the message says what helps.
  if (error.message.includes('wait for room')) return error;
  const hint = `Nothing is lost. Merging needs a little room: make some, or see what comes back by itself with: ploop compact ${dir}; then run the same command again.`;
  return new PloopError('NO_SPACE', error.message, { hint, details: error.details, cause: error });
}

const WORKERS_MAX = 5;
const NEXT_WORKER_MS = 200;

/** A worker that dies leaves the job to the next one, which is asked the same; null: by then the job has ended. */
async function throughWorkers<T>(
  dir: string,
  first: Attachment,
  ask: (attachment: Attachment) => Promise<T>,
  options: RunDirectoryOption & { signal?: AbortSignal | undefined },
): Promise<T | null> {
  let attachment = first;
  for (let workers = 1; ; workers++) {
    try {
      return await ask(attachment);
    } catch (error) {
      if (workers > 1 && error instanceof PloopError && (error.code === 'SNAPSHOT_NOT_FOUND' || error.code === 'NOT_FOUND')) return null;
      if (!workerIsLost(error) || workers === WORKERS_MAX) throw error;
      await sleep(NEXT_WORKER_MS, undefined, { signal: options.signal });
      const next = await attachedTop(dir, options);
      if (next === null) throw error;
      attachment = next;
    }
  }
}

/** How long a worker may take to hide a snapshot: a journal record of the host, and the step of a merge under way. */
const HIDE_MS = 10_000;

/**
 * Deletes a snapshot without waiting for the merge: an attached image goes on by itself, at the rate of the merges under way;
 * a detached one when it is attached.
 */
export async function hideSnapshot(
  dir: string,
  id: string,
  options: RunDirectoryOption & { signal?: AbortSignal | undefined } = {},
): Promise<{ live: boolean }> {
  const { runDir, signal } = options;
  const attachment = await attachedTop(dir, { runDir });
  if (attachment === null)
    await whileDetached(dir, () => native.deleteSnapshot(dir, id, { merge: false }), { runDir, doing: 'deleting a snapshot' });
  else await control(attachment, 'delete', { snapshot: id, background: true }, { signal, timeoutMs: HIDE_MS });
  return { live: attachment !== null };
}

/** A listed one, or one whose deletion was interrupted and now goes on. */
function findDeletable(descriptor: ImageDescriptor, key: string): NativeSnapshot {
  try {
    return findSnapshot(descriptor, key);
  } catch (error) {
    const half = findHalfDeleted(descriptor, key);
    if (half === undefined) throw error;
    return half;
  }
}

export interface Job {
  /** That of the snapshot that was deleted. */
  id: string;
  kind: 'delete';
  name: string | null;
  /** waiting: for somebody who reads a layer; stopped: until the same snapshot is deleted again; kept: others need its layer. */
  state: 'running' | 'waiting' | 'stopped' | 'failed' | 'kept';
  /** Bytes of the merge under way. */
  done: number;
  total: number;
  /** Bytes a second; 0 = no limit. */
  rate: number;
  error: string | null;
}

export async function listJobs(dir: string, options: RunDirectoryOption & { signal?: AbortSignal | undefined } = {}): Promise<Job[]> {
  checkPath('jobs: dir', dir);
  checkOptions('jobs', options, ['runDir', 'signal']);
  const attachment = await attachedTop(dir, options);
  if (attachment !== null) return (await control(attachment, 'jobs', {}, { signal: options.signal })).jobs;
  const { layers, snapshots, top } = await readDescriptor(dir);
  return snapshots
    .filter((one) => one.hidden)
    .map(({ id, name, layer }) => {
      const shared = layer === top || layers.filter((other) => other.parent === layer).length > 1;
      return { id, kind: 'delete', name: name || null, state: shared ? 'kept' : 'stopped', done: 0, total: 0, rate: 0, error: null };
    });
}

export interface WaitJobOptions extends RunDirectoryOption {
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Until the job has ended; one that has ended before is fine. `key`: the id of the snapshot, its unique beginning, or name. */
export async function waitJob(dir: string, key: string, options: WaitJobOptions = {}): Promise<void> {
  checkOptions('jobs', options, ['runDir', 'onProgress', 'signal']);
  const { attachment, id } = await findJob(dir, key, options);
  const { onProgress, signal } = options;
  const ask = (to: Attachment): Promise<unknown> => control(to, 'job-wait', { job: id }, { onProgress, signal, timeoutMs: 0 });
  await throughWorkers(dir, attachment, ask, options).catch((error: unknown) => {
    if (!(error instanceof PloopError) || error.code !== 'NOT_FOUND') throw error;
  });
}

/** The merge stops at its next step; deleting the same snapshot again, or attaching the image anew, goes on with it. */
export async function cancelJob(dir: string, key: string, options: RunDirectoryOption = {}): Promise<void> {
  checkOptions('jobs', options, ['runDir']);
  const { attachment, id } = await findJob(dir, key, options);
  await control(attachment, 'job-cancel', { job: id }, {});
}

const FULL_ID_CHARACTERS = 36;

async function findJob(dir: string, key: string, options: RunDirectoryOption): Promise<{ attachment: Attachment; id: string }> {
  checkText('jobs: id', key);
  const descriptor = await readDescriptor(dir);
  const attachment = await attachedTop(dir, options);
  if (attachment === null) {
    throw new PloopError('NOT_ATTACHED', `${dir} is not attached: nothing runs for it in the background`, {
      hint: `Go on with: ploop snapshot-delete ${dir} ${key}`,
    });
  }
  const job = findHalfDeleted(descriptor, key);
  if (job !== undefined) return { attachment, id: job.id };
  // A whole id is that of a job that has ended; of anything less nobody can say what it was.
  if (key.length === FULL_ID_CHARACTERS) return { attachment, id: key.toLowerCase() };
  throw new PloopError('NOT_FOUND', `${dir} has no job with the id or name '${key}'; it may have ended`, {
    hint: `Those there are: ploop jobs ${dir}`,
  });
}

async function attachedTop(dir: string, options: RunDirectoryOption): Promise<Attachment | null> {
  const attachment = await findAttachment(dir, { runDir: options.runDir });
  return attachment?.live === true ? attachment : null;
}
