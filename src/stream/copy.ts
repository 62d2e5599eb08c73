// SPDX-License-Identifier: Apache-2.0
// Copies an image with all its snapshots, to this machine or another, also while it is in use: snapshot after snapshot until
// little is left, then a last one with the file system held still until it has arrived (docs/stream.md).

import { randomBytes } from 'node:crypto';

import { changedBlocks } from '../attach/diff.js';
import { deleteSnapshot } from '../attach/jobs.js';
import { takeSnapshot } from '../attach/operations.js';
import { PloopError } from '../errors.js';
import { consistentSnapshot } from '../filesystem/image/snapshot.js';
import { listSnapshots, type Snapshot } from '../image/snapshots.js';
import { checkInteger, checkOptions, checkPath, checkText } from '../native/arguments.js';
import { type Destination, parseDestination } from './destination.js';
import { lastRound, type LastRoundOptions } from './last-round.js';
import { sendArguments, type SendOptions } from './send.js';
import { startStream, type Transferred } from './transfer.js';

export interface CopyOptions extends LastRoundOptions {
  /** Follow an image in use round by round; otherwise one snapshot is copied. */
  live?: boolean | undefined;
  /** The last round begins when at most this much has changed. Default 16 MiB. */
  restBytes?: number | undefined;
  /** The last round begins at the latest with this one. Default 8. */
  maxRounds?: number | undefined;
  /** Name of the last snapshot, which then stays on both sides: the base of the next copy. */
  keep?: string | undefined;
  force?: boolean | undefined;
  /** The program, with its arguments, that reaches another host. Default ssh. */
  rsh?: readonly string[] | undefined;
  level?: number | undefined;
  onRound?: ((round: CopyRound) => void) | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface CopyRound extends Transferred {
  round: number;
  ms: number;
}

export interface CopiedImage {
  to: string;
  rounds: CopyRound[];
  /** How long the file system was held still for the last round; null: it was not mounted, or nothing was live. */
  pauseMs: number | null;
  /** Snapshots of the copy that could not be removed (ids). */
  left: string[];
}

interface Copy {
  dir: string;
  to: Destination;
  options: CopyOptions;
  /** Marks the snapshots that are ours, also those of an earlier attempt. */
  mark: string;
  rounds: CopyRound[];
}

const NAMES = [
  'runDir',
  'live',
  'restBytes',
  'maxRounds',
  'maxPauseMs',
  'handover',
  'onHandover',
  'keep',
  'force',
  'rsh',
  'level',
  'onRound',
  'onProgress',
  'signal',
];
const REST_BYTES = 16 * 2 ** 20;

export async function copyImage(dir: string, destination: string, options: CopyOptions = {}): Promise<CopiedImage> {
  checkPath('copy: dir', dir);
  checkOptions('copy', options, NAMES);
  const { force, signal, runDir } = options;
  const to = parseDestination(destination, options.rsh ?? ['ssh'], { force, signal, runDir });
  const copy: Copy = { dir, to, options, mark: `ploop copy to ${destination}`.slice(0, 200), rounds: [] };
  if (options.handover !== undefined && options.live !== true)
    throw new PloopError('INVALID_ARGUMENT', 'copy: a hand-over needs a live copy', { hint: 'Give --live as well.' });
  if (options.keep !== undefined) await checkNewName(dir, checkText('copy: keep', options.keep, { maxBytes: 127 }));
  try {
    const base = await findBase(copy);
    const pauseMs = options.live === true ? await follow(copy, base) : await copyOnce(copy, base);
    return { to: destination, rounds: copy.rounds, pauseMs, left: await tidy(copy) };
  } catch (error) {
    throw await withWayOn(copy, error);
  }
}

async function checkNewName(dir: string, name: string): Promise<void> {
  if ((await listSnapshots(dir)).some((one) => one.name === name))
    throw new PloopError('EXISTS', `${dir}: a snapshot "${name}" exists already`);
}

/** The newest snapshot that both sides have, after finishing what an earlier attempt left; null: nothing is there. */
async function findBase(copy: Copy): Promise<string | null> {
  const token = await copy.to.token();
  if (token !== null) await move(copy, { token }).catch(ignoreOutdated);
  const there = await copy.to.snapshots();
  if (there === null) return null;
  const both = (await listSnapshots(copy.dir)).filter((one) => there.includes(one.id));
  const last = both.at(-1);
  if (last !== undefined) return last.id;
  throw new PloopError('EXISTS', `${copy.to.name} exists and has no snapshot in common with ${copy.dir}`, {
    hint: 'Copy to another name, or remove what is there.',
  });
}

/** The snapshots of that attempt are gone: the copy starts again. */
function ignoreOutdated(error: unknown): void {
  if (!(error instanceof PloopError) || !['SNAPSHOT_NOT_FOUND', 'INVALID_ARGUMENT', 'NOT_FOUND'].includes(error.code)) throw error;
}

async function copyOnce(copy: Copy, base: string | null): Promise<null> {
  const { id } = await consistentSnapshot(copy.dir, snapshotOptions(copy, true));
  await move(copy, { snapshot: id, ...(base === null ? {} : { since: base }) });
  return null;
}

async function follow(copy: Copy, first: string | null): Promise<number | null> {
  const { restBytes = REST_BYTES, maxRounds = 8, signal } = copy.options;
  checkInteger('copy: restBytes', restBytes);
  checkInteger('copy: maxRounds', maxRounds, { min: 1 });
  let base = first;
  let before = Infinity;
  for (let round = 1; round < maxRounds; round++) {
    signal?.throwIfAborted();
    const rest = base === null ? Infinity : await changedSince(copy, base);
    // Writing is as fast as copying: more rounds would not help.
    if (rest <= restBytes || rest > before * 0.9) break;
    before = rest;
    const { id } = await consistentSnapshot(copy.dir, snapshotOptions(copy, false));
    await move(copy, { snapshot: id, ...(base === null ? {} : { since: base }) });
    base = id;
  }
  const work = async (): Promise<void> => {
    const { id } = await takeSnapshot(copy.dir, snapshotOptions(copy, true));
    await move(copy, { snapshot: id, ...(base === null ? {} : { since: base }) });
  };
  return lastRound(copy.dir, copy.to.name, work, copy.options);
}

function snapshotOptions(copy: Copy, last: boolean): { name: string; description: string; signal?: AbortSignal; runDir?: string } {
  const { keep, signal, runDir } = copy.options;
  const kept = last && keep !== undefined;
  return {
    name: kept ? keep : `copy-${randomBytes(4).toString('hex')}`,
    description: kept ? '' : copy.mark,
    ...(signal === undefined ? {} : { signal }),
    ...(runDir === undefined ? {} : { runDir }),
  };
}

async function changedSince(copy: Copy, from: string): Promise<number> {
  const changed = await changedBlocks(copy.dir, { from, runDir: copy.options.runDir, signal: copy.options.signal });
  let bytes = 0;
  for await (const extent of changed.extents) bytes += extent.zero ? 0 : extent.length;
  return bytes;
}

/** One stream from here to there. */
async function move(copy: Copy, what: Pick<SendOptions, 'snapshot' | 'since' | 'token'>): Promise<void> {
  const { onProgress, signal, level, onRound } = copy.options;
  const args = await sendArguments(copy.dir, { ...what, level });
  const start = performance.now();
  const receiver = copy.to.receive();
  const input = receiver.flow.input;
  if (input === null) throw new PloopError('INTERNAL', 'the receiver has no input');
  const sender = startStream<Transferred>(args, { stdin: 'ignore', stdout: input }, { onProgress, signal });
  receiver.flow.release();
  const [sent, received] = await Promise.allSettled([sender.result, receiver.result]);
  const failure = pickFailure(sent, received);
  if (failure !== undefined) throw failure;
  if (received.status !== 'fulfilled') return;
  const round = { ...onlyTransfer(received.value), round: copy.rounds.length + 1, ms: Math.round(performance.now() - start) };
  copy.rounds.push(round);
  onRound?.(round);
}

/** A receiver that saw the stream cut off only noticed that the sender failed; otherwise the sender lost its reader. */
function pickFailure(sent: PromiseSettledResult<unknown>, received: PromiseSettledResult<unknown>): unknown {
  const [sendReason, receiveReason] = [sent, received].map((one): unknown => (one.status === 'rejected' ? one.reason : undefined));
  const cutOff = receiveReason instanceof PloopError && receiveReason.code === 'BAD_STREAM';
  return cutOff ? (sendReason ?? receiveReason) : (receiveReason ?? sendReason);
}

/** A remote answer has the directory, too. */
function onlyTransfer({ from, to, snapshots, dataBytes, zeroBytes, streamBytes, readBytes, resumed }: Transferred): Transferred {
  return { from, to, snapshots, dataBytes, zeroBytes, streamBytes, readBytes, resumed };
}

/** Removes our snapshots on both sides, the newest first; what can't be removed is told. */
async function tidy(copy: Copy): Promise<string[]> {
  const { runDir, signal } = copy.options;
  const left: string[] = [];
  for (const { id } of (await ours(copy)).toReversed()) {
    await copy.to.deleteSnapshot(id).catch(tolerate(left, id));
    await deleteSnapshot(copy.dir, id, { runDir, signal }).catch(tolerate(left, id));
  }
  return [...new Set(left)];
}

/** Removed already (or never there), or in use: an attached image, say. */
function tolerate(left: string[], id: string): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof PloopError)) throw error;
    if (error.code === 'SNAPSHOT_NOT_FOUND') return;
    if (!['ATTACHED', 'BUSY', 'UNSUPPORTED'].includes(error.code)) throw error;
    left.push(id);
  };
}

async function ours(copy: Copy): Promise<Snapshot[]> {
  return (await listSnapshots(copy.dir)).filter((one) => one.description === copy.mark);
}

/** Our snapshots stay: they are what another attempt goes on from. */
async function withWayOn(copy: Copy, error: unknown): Promise<unknown> {
  const kept = await ours(copy).catch(() => []);
  if (kept.length === 0 || !(error instanceof PloopError)) return error;
  const hint = `The same command goes on from there. Giving up: ploop snapshot-delete ${copy.dir} ${kept.map((one) => one.id).join(', then ')}`;
  return new PloopError(error.code, error.message, { hint, details: error.details, cause: error });
}
