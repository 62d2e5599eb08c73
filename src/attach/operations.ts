// SPDX-License-Identifier: Apache-2.0
// Operations on an image whether it is attached or not: an attached one is asked through its control socket,
// a detached one goes through the addon. What needs a detached image says so, and how to detach it.

import { resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { holderOf } from '../image/holder.js';
import { findSnapshot } from '../image/snapshots.js';
import { checkFunction, checkOptions, checkPath, checkText } from '../native/arguments.js';
import { native, type NativeCheckResult, type NativeExtent } from '../native/index.js';
import { attachmentsOf, findAttachment, type Attachment } from './attachments.js';
import type { ControlOperations, SnapshotTimes } from './control-operations.js';
import { control } from './control.js';
import { mountPointsOf } from './mounts.js';
import { refuseWhileFull } from './room.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface TakeSnapshotOptions extends RunDirectoryOption {
  /** At most 127 bytes. */
  name?: string | undefined;
  /** At most 255 bytes. */
  description?: string | undefined;
  /** A process: the snapshot is temporary and goes when that has ended (filesystem/image/collect.ts). */
  holder?: number | undefined;
  /**
   * Called for an attached image; must run `switchOver` with the file systems on the device frozen, and thaw them whatever
   * happens. What takes time is done before and after.
   */
  frozen?: ((attachment: Attachment, switchOver: () => Promise<void>) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
}

export interface TakenSnapshot {
  id: string;
  name: string | null;
  /** Of a temporary one: the process it is kept for, as in the list; else null. */
  holder: string | null;
  /** The image was attached while it was taken. */
  live: boolean;
  /** How long requests were held back; null when the image was detached. */
  pausedUs: number | null;
  /** How long it took beside that; null when the image was detached. */
  times: SnapshotTimes | null;
}

type SnapshotText = ControlOperations['snapshot'][0];

export async function takeSnapshot(dir: string, options: TakeSnapshotOptions = {}): Promise<TakenSnapshot> {
  checkPath('snapshot: dir', dir);
  checkOptions('snapshot', options, ['runDir', 'name', 'description', 'holder', 'frozen', 'signal']);
  const what = {
    ...(options.name === undefined ? {} : { name: checkText('snapshot: name', options.name, { maxBytes: 127, line: true }) }),
    ...(options.description === undefined
      ? {}
      : { description: checkText('snapshot: description', options.description, { maxBytes: 255, empty: true, line: true }) }),
    ...(options.holder === undefined ? {} : { holder: await holderOf(options.holder) }),
  };
  const name = options.name ?? null;
  const holder = what.holder ?? null;
  const attachment = await findAttachment(dir, options);
  if (attachment === null || !attachment.live) {
    const id = await whileDetached(dir, () => native.snapshot(dir, what), { ...options, doing: 'taking a snapshot' });
    return { id, name, holder, live: false, pausedUs: null, times: null };
  }
  // Before anything is frozen: the freeze would wait as well.
  await refuseWhileFull(attachment, 'a snapshot');
  const { id: taken, ...times } = await snapshotLive(attachment, what, options);
  return { id: taken, name, holder, live: true, pausedUs: times.pausedUs, times };
}

async function snapshotLive(
  attachment: Attachment,
  what: SnapshotText,
  options: TakeSnapshotOptions,
): Promise<ControlOperations['snapshot'][1]> {
  const { signal } = options;
  const take = (onProgress?: () => void): Promise<ControlOperations['snapshot'][1]> =>
    control(attachment, 'snapshot', what, { signal, onProgress });
  if (options.frozen === undefined) return take();
  const frozen = checkFunction('snapshot: frozen', options.frozen);
  await prepareSnapshot(attachment, what, signal);
  let taken: ReturnType<typeof take> | undefined;
  await frozen(attachment, async () => {
    const switched = new Promise<void>((resolveSwitched) => {
      taken = take(resolveSwitched);
      // It is waited for below, unless the thaw fails first.
      taken.catch(() => undefined);
    });
    await Promise.race([switched, taken]);
  });
  if (taken === undefined) throw new PloopError('INTERNAL', 'snapshot: frozen: did not call what it was given');
  return taken;
}

/** A worker of an earlier version has only `snapshot`, and does everything there. */
async function prepareSnapshot(attachment: Attachment, what: SnapshotText, signal: AbortSignal | undefined): Promise<void> {
  try {
    await control(attachment, 'snapshot-prepare', what, { signal });
  } catch (error) {
    if (!(error instanceof PloopError) || error.code !== 'INVALID_ARGUMENT' || !error.message.includes('no operation')) throw error;
  }
}

export interface NamedSnapshot {
  id: string;
  name: string | null;
}

export interface SwitchOptions extends RunDirectoryOption {
  /** Do not keep the state before: what was written since the last snapshot is lost. */
  discard?: boolean | undefined;
}

export interface SwitchedTo extends NamedSnapshot {
  /** The snapshot of the state before; null: discarded, or another snapshot holds the same. */
  kept: NamedSnapshot | null;
  /** Of the disk, which has the size it had then. */
  sizeBytes: number;
  oldSizeBytes: number;
}

/** The disk goes back to a snapshot; the state before becomes a snapshot, too. Detached images only. */
export async function switchToSnapshot(dir: string, key: string, options: SwitchOptions = {}): Promise<SwitchedTo> {
  checkOptions('snapshot-switch', options, ['runDir', 'discard']);
  const { discard, runDir } = options;
  const before = await readDescriptor(dir);
  const snapshot = findSnapshot(before, key);
  const name = `before-switch-${new Date().toISOString()}`;
  const keep = discard === true ? {} : { keepAs: name, description: `before going back to ${snapshot.name || snapshot.id}`.slice(0, 255) };
  const id = await whileDetached(dir, () => native.switchTo(dir, snapshot.id, keep), { runDir, doing: 'going back to a snapshot' });
  const { size } = await readDescriptor(dir);
  const kept = id === null ? null : { id, name };
  return { id: snapshot.id, name: snapshot.name || null, kept, sizeBytes: size, oldSizeBytes: before.size };
}

export interface CheckImageOptions extends RunDirectoryOption {
  /** Also compare the blocks of sealed layers with their checksums, where they have them. */
  data?: boolean | undefined;
  /** Repair what can be; otherwise nothing is changed. */
  repair?: boolean | undefined;
}

/** Reads all metadata. Findings are a result, not a failure. Detached images only. */
export async function checkImage(dir: string, options: CheckImageOptions = {}): Promise<NativeCheckResult> {
  checkPath('check: dir', dir);
  checkOptions('check', options, ['runDir', 'data', 'repair']);
  const { data = false, repair = false } = options;
  return whileDetached(dir, () => native.check(dir, { data, repair }), { ...options, doing: repair ? 'a repair' : 'a check' });
}

export interface AddChecksumsOptions extends RunDirectoryOption {
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Gives sealed layers the block checksums they lack; how many got them. Detached images only. */
export async function addChecksums(dir: string, options: AddChecksumsOptions = {}): Promise<number> {
  checkPath('check: dir', dir);
  checkOptions('check', options, ['runDir', 'onProgress', 'signal']);
  const { onProgress, signal } = options;
  const work = { ...(onProgress === undefined ? {} : { onProgress }), ...(signal === undefined ? {} : { signal }) };
  return whileDetached(dir, () => native.addChecksums(dir, work), { ...options, doing: 'adding checksums' });
}

export interface MapOptions extends RunDirectoryOption {
  offset?: number | undefined;
  length?: number | undefined;
  /** Of a snapshot instead of the present state. */
  snapshot?: string | undefined;
  signal?: AbortSignal | undefined;
}

const EXTENTS_PER_REQUEST = 512;

/** Which layer owns what, in order; adjacent extents of one owner may come in pieces. */
export async function* mapExtents(dir: string, options: MapOptions = {}): AsyncGenerator<NativeExtent> {
  checkPath('map: dir', dir);
  checkOptions('map', options, ['runDir', 'offset', 'length', 'snapshot', 'signal']);
  const descriptor = await readDescriptor(dir);
  const snapshot = options.snapshot === undefined ? undefined : findSnapshot(descriptor, options.snapshot).id;
  const attachment = await findAttachment(dir, options);
  const live = attachment?.live === true;
  const end = options.length === undefined ? Infinity : (options.offset ?? 0) + options.length;
  let at: number | null = options.offset ?? 0;
  while (at !== null && at < end) {
    options.signal?.throwIfAborted();
    const range = { offset: at, limit: EXTENTS_PER_REQUEST, ...(end === Infinity ? {} : { length: end - at }) };
    const page: { extents: NativeExtent[]; next: number | null } =
      live && attachment !== null && snapshot === undefined
        ? await control(attachment, 'map', range, { signal: options.signal })
        : await native.map(dir, { ...range, ...(snapshot === undefined ? {} : { snapshot, lock: !live }) });
    yield* page.extents;
    at = page.next;
  }
}

export interface WhileDetachedOptions extends RunDirectoryOption {
  /** For the message: "deleting a snapshot" needs it detached. */
  doing: string;
}

/** Runs work on a detached image; ATTACHED, with who holds it and the way out, when it is attached. */
export async function whileDetached<T>(dir: string, work: () => Promise<T>, options: WhileDetachedOptions): Promise<T> {
  const held = await liveAttachment(dir, options);
  if (held !== null) throw await attachedError(dir, held, options.doing);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PloopError) || error.code !== 'BUSY') throw error;
    // Somebody was faster.
    const holder = await liveAttachment(dir, options);
    throw holder === null ? error : await attachedError(dir, holder, options.doing);
  }
}

async function liveAttachment(dir: string, options: RunDirectoryOption): Promise<Attachment | null> {
  return (await attachmentsOf(dir, options)).find((one) => one.live) ?? null;
}

/** "/a/image is attached as /dev/loop3 since …, mounted on /mnt; deleting a snapshot needs it detached" */
export async function attachedError(dir: string, attachment: Attachment, doing: string): Promise<PloopError> {
  const mountPoints = attachment.devno === null ? [] : await mountPointsOf(attachment.devno);
  const what = attachment.snapshot === null ? resolve(dir) : `snapshot ${attachment.snapshot.slice(0, 8)} of ${resolve(dir)}`;
  const where = attachment.device === null ? '' : ` as ${attachment.device}`;
  const mounted = mountPoints.length === 0 ? '' : `, mounted on ${mountPoints.join(', ')}`;
  const message = `${what} is attached${where} (ploopd pid ${attachment.keeper}, since ${attachment.since})${mounted}; ${doing} needs it detached`;
  const { device, keeper, since, snapshot } = attachment;
  const which = snapshot === null ? '' : ` --snapshot ${snapshot.slice(0, 8)}`;
  const hint =
    mountPoints.length === 0 ? `Detach it first: ploop detach ${dir}${which}` : `Unmount it first: ploop umount ${mountPoints[0]}`;
  return new PloopError('ATTACHED', message, { hint, details: { device, mountPoints, keeper, since } });
}
