// SPDX-License-Identifier: Apache-2.0
// What is attached: read from the state files of the run directory (docs/control.md).
// An attachment is live while its keeper holds the lock on keeper.pid; a dead one still has its entry, and often its device.

import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { native } from '../native/index.js';
import { runDirectory, type RunDirectoryOption } from './run-directory.js';
import type { Via } from './via.js';

export type OnFull = 'pause' | 'error';

/** What a device may do a second; 0: no limit; undefined: as it is, at first none. */
export interface DeviceLimits {
  iops?: number | undefined;
  bps?: number | undefined;
}

export interface Attachment {
  /** The entry's name: the image's UUID, with `@<snapshot UUID>` for an attached snapshot. */
  attachment: string;
  image: string;
  directory: string;
  snapshot: string | null;
  readOnly: boolean;
  keeper: number;
  worker: number;
  state: 'starting' | 'running' | 'restarting' | 'stopped' | 'orphan' | 'dead';
  /** Since when it is so; of no meaning for `orphan` and `dead`. */
  stateSince: string;
  /** False: the keeper is gone, nothing serves the device any more. */
  live: boolean;
  restarts: number;
  /** What writes do while the host is full: they wait, or they fail. */
  onFull: OnFull;
  /** Operations a second at most; null: no limit. */
  iops: number | null;
  /** Bytes a second at most; null: no limit. */
  bps: number | null;
  /** How the device is made; null without one. */
  via: Via | null;
  /** "/dev/loop3"; null without a device. */
  device: string | null;
  /** "7:3" */
  devno: string | null;
  since: string;
  lastError: string | null;
  /** Its folder in the run directory: `control`, `state.json`, `log`. */
  folder: string;
}

/** Every attachment of this run directory, oldest first. */
export async function listAttachments(options: RunDirectoryOption = {}): Promise<Attachment[]> {
  const run = runDirectory(options);
  const names = await readdir(run).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'EACCES') {
      throw new PloopError('NOT_PERMITTED', `${run}: only root may look at attachments`, {
        hint: 'Run the command as root.',
        cause: error,
      });
    }
    throw new PloopError('IO', `cannot read the run directory ${run}: ${error.code ?? error.message}`, { cause: error });
  });
  const found = await Promise.all(names.filter(isAttachmentName).map((name) => readAttachment(join(run, name))));
  return found.filter((one) => one !== null).sort((a, b) => a.since.localeCompare(b.since) || a.attachment.localeCompare(b.attachment));
}

/**
 * The attachments of one image: its top first, then its snapshots. None for those who may not look: only root attaches,
 * and the image's lock still keeps others from what is attached.
 */
export async function attachmentsOf(dir: string, options: RunDirectoryOption = {}): Promise<Attachment[]> {
  const all = await listAttachments(options).catch((error: unknown) => {
    if (error instanceof PloopError && error.code === 'NOT_PERMITTED') return [];
    throw error;
  });
  if (all.length === 0) return [];
  const id = await readDescriptor(dir).then(
    (descriptor) => descriptor.id,
    () => null,
  );
  const path = await realpath(dir).catch(() => dir);
  const here = await Promise.all(all.map((one) => isAttachmentOf(one, id, path)));
  const mine = all.filter((_, index) => here[index]);
  return mine.sort((a, b) => Number(a.snapshot !== null) - Number(b.snapshot !== null));
}

/** The attachment of the image's top (or of the snapshot with this id); null when there is none. */
export async function findAttachment(
  dir: string,
  options: RunDirectoryOption & { snapshot?: string | undefined } = {},
): Promise<Attachment | null> {
  const wanted = options.snapshot ?? null;
  return (await attachmentsOf(dir, options)).find((one) => one.snapshot === wanted) ?? null;
}

/** A copy of an image (cp -r) has the same id: then the directory tells. A moved directory is found by its id. */
async function isAttachmentOf(one: Attachment, id: string | null, path: string): Promise<boolean> {
  if (one.directory === path) return true;
  if (id === null || one.image !== id) return false;
  const theirs = await stat(one.directory).catch(() => null);
  const ours = await stat(path).catch(() => null);
  return theirs === null || (ours !== null && theirs.ino === ours.ino && theirs.dev === ours.dev);
}

/** The attachment of another directory that holds an image with the same id: a copy of this one. */
export async function findAttachedCopy(dir: string, options: RunDirectoryOption = {}): Promise<Attachment | null> {
  const id = await readDescriptor(dir).then((descriptor) => descriptor.id);
  const mine = new Set((await attachmentsOf(dir, options)).map((one) => one.attachment));
  const all = await listAttachments(options);
  return all.find((one) => one.live && one.image === id && !mine.has(one.attachment)) ?? null;
}

function isAttachmentName(name: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(@[0-9a-f-]{36})?$/.test(name);
}

/** null: the entry went away, or is so new that it has no state yet. */
async function readAttachment(folder: string): Promise<Attachment | null> {
  const text = await readFile(join(folder, 'state.json'), 'utf8').catch(() => null);
  if (text === null) return null;
  let state: Partial<Attachment>;
  try {
    state = JSON.parse(text) as Partial<Attachment>;
  } catch (error) {
    throw new PloopError('DAEMON', `${join(folder, 'state.json')} is not JSON`, { cause: error });
  }
  const live = await native.isLocked(join(folder, 'keeper.pid'));
  return {
    attachment: folder.slice(folder.lastIndexOf('/') + 1),
    image: state.image ?? '',
    directory: state.directory ?? '',
    snapshot: state.snapshot ?? null,
    readOnly: state.readOnly ?? false,
    keeper: state.keeper ?? 0,
    worker: state.worker ?? 0,
    state: live ? await liveState(state) : 'dead',
    stateSince: state.stateSince ?? state.since ?? '',
    live,
    restarts: state.restarts ?? 0,
    onFull: state.onFull ?? 'pause',
    iops: state.iops ?? null,
    bps: state.bps ?? null,
    // Before there was a choice it was this.
    via: state.via === undefined ? 'fuse' : state.via,
    device: state.device ?? null,
    devno: state.devno ?? null,
    since: state.since ?? '',
    lastError: state.lastError ?? null,
    folder,
  };
}

/** The worker lives on without its keeper; then nobody has written the state since. */
async function liveState(state: Partial<Attachment>): Promise<Attachment['state']> {
  const keeper = await readFile(`/proc/${state.keeper ?? 0}/stat`, 'utf8').catch(() => '');
  // A zombie is one whose parent has not looked yet. While an attachment begins, the keeper may not have its name.
  if ((keeper === '' || keeper.includes(') Z ')) && (state.state === 'running' || state.state === 'restarting')) return 'orphan';
  return state.state ?? 'starting';
}
