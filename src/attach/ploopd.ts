// SPDX-License-Identifier: Apache-2.0
// Starting and stopping: `ploopd attach` and `ploopd detach`, whose one line of JSON becomes a result or a PloopError.

import { resolve } from 'node:path';

import { isErrorCode, PloopError } from '../errors.js';
import { run, type RunResult } from '../exec/run.js';
import { checkOptions, checkPath } from '../native/arguments.js';
import { nativeFile } from '../native/binding.js';
import { attachmentsOf, findAttachedCopy, findAttachment, type Attachment, type DeviceLimits, type OnFull } from './attachments.js';
import { attachedError } from './operations.js';
import { runDirectory, type RunDirectoryOption } from './run-directory.js';
import { usersOfDevice, usersSentence } from './users.js';
import { chosenVia, type Via, type ViaChoice } from './via.js';

export interface AttachResult {
  attachment: string;
  /** How the device is made; null with `file: false`. */
  via: Via | null;
  /** Absent with `loop: false`. */
  device: string | null;
  devno: string | null;
  keeper: number;
  worker: number;
  sizeBytes: number;
  blockSizeBytes: number;
  readOnly: boolean;
}

export interface AttachOptions extends RunDirectoryOption, DeviceLimits {
  readOnly?: boolean | undefined;
  /** Id, unique prefix or name; a snapshot is always attached read-only. */
  snapshot?: string | undefined;
  sectorSizeBytes?: 512 | 4096 | undefined;
  /** How the device is made. Default: $PLOOP_VIA, or `auto`. */
  via?: ViaChoice | undefined;
  /** false: the daemon alone, without a device. */
  loop?: boolean | undefined;
  /** false: without a file of the disk as well: for exports alone. */
  file?: boolean | undefined;
  /** What writes do while the host's file system is full: wait for room (the default), or fail. */
  onFull?: OnFull | undefined;
  signal?: AbortSignal | undefined;
}

/** Starts the image's ploopd and returns when its device is usable. */
export async function attachImage(dir: string, options: AttachOptions = {}): Promise<AttachResult> {
  checkPath('attach: dir', dir);
  checkOptions('attach', options, [
    'runDir',
    'readOnly',
    'snapshot',
    'sectorSizeBytes',
    'via',
    'loop',
    'file',
    'onFull',
    'iops',
    'bps',
    'signal',
  ]);
  const args = ['attach', resolve(dir), '--run-dir', runDirectory(options)];
  if (options.readOnly) args.push('--read-only');
  if (options.snapshot !== undefined) args.push('--snapshot', options.snapshot);
  if (options.loop === false) args.push(options.file === false ? '--no-device' : '--no-loop');
  else args.push('--via', chosenVia(options.via));
  if (options.sectorSizeBytes !== undefined) args.push('--sector-size', String(options.sectorSizeBytes));
  if (options.onFull !== undefined) args.push('--on-full', options.onFull);
  if (options.iops !== undefined) args.push('--iops', String(options.iops));
  if (options.bps !== undefined) args.push('--bps', String(options.bps));
  const attached = await startDaemon(dir, args, options);
  if (options.signal?.aborted !== true) return attached;
  await detachAttachment(attached, { runDir: options.runDir });
  throw new PloopError('INTERRUPTED', `interrupted; ${resolve(dir)} was detached again`);
}

/** Not tied to the signal: half an attachment is worse than a second of patience. */
async function startDaemon(dir: string, args: readonly string[], options: AttachOptions): Promise<AttachResult> {
  try {
    const { size, blockSize, via, device, devno, ...rest } = await ploopd<AttachReply>(args);
    return { ...rest, via: via ?? null, device: device ?? null, devno: devno ?? null, sizeBytes: size, blockSizeBytes: blockSize };
  } catch (error) {
    // Control-C reaches the launcher, too, also before it can hold signals back: what it left behind goes away here.
    const ours = error instanceof PloopError && ['DAEMON', 'TOOL_FAILED'].includes(error.code) && options.signal?.aborted === true;
    const left = ours ? await findAttachment(dir, { runDir: options.runDir }).catch(() => null) : null;
    if (left !== null) await detachAttachment(left, { runDir: options.runDir }).catch(() => undefined);
    if (error instanceof PloopError && error.code === 'BUSY') throw await busyError(dir, error, options);
    if (error instanceof PloopError && error.code === 'ATTACHED') throw await copyError(dir, error, options);
    throw ours ? new PloopError('INTERRUPTED', `attaching ${resolve(dir)} was interrupted`, { cause: error }) : error;
  }
}

/** Busy with a snapshot of it, say: then who holds it, and the way out. */
async function busyError(dir: string, error: PloopError, options: RunDirectoryOption): Promise<PloopError> {
  const holder = (await attachmentsOf(dir, { runDir: options.runDir })).find((one) => one.live);
  return holder === undefined ? error : attachedError(dir, holder, 'attaching');
}

/** Copies of a directory share the image's id, by which attachments are known: one of them at a time. */
async function copyError(dir: string, error: PloopError, options: RunDirectoryOption): Promise<PloopError> {
  const copy = await findAttachedCopy(dir, { runDir: options.runDir });
  if (copy === null || (await findAttachment(dir, { runDir: options.runDir })) !== null) return error;
  return new PloopError('ATTACHED', `${resolve(dir)} is a copy of ${copy.directory}, which is attached as ${copy.device ?? 'a file'}`, {
    hint: `Copies share one id, so only one of them can be attached at a time. Detach the other first: ploop detach ${copy.directory}`,
    details: { directory: copy.directory, device: copy.device },
    cause: error,
  });
}

interface AttachReply {
  attachment: string;
  via?: Via | null;
  device?: string | null;
  devno?: string | null;
  keeper: number;
  worker: number;
  size: number;
  blockSize: number;
  readOnly: boolean;
}

export interface DetachOptions extends RunDirectoryOption {
  timeoutMs?: number | undefined;
}

/** Takes the device away and ends ploopd; also cleans up after one that was killed. MOUNTED while something uses the device. */
export async function detachAttachment(
  attachment: Pick<Attachment, 'attachment' | 'device' | 'devno'>,
  options: DetachOptions = {},
): Promise<void> {
  checkOptions('detach', options, ['runDir', 'timeoutMs']);
  const args = ['detach', attachment.attachment, '--run-dir', runDirectory(options)];
  if (options.timeoutMs !== undefined) args.push('--timeout-ms', String(options.timeoutMs));
  try {
    await ploopd(args);
  } catch (error) {
    throw error instanceof PloopError && error.code === 'MOUNTED' ? await withUsers(error, attachment) : error;
  }
}

/** "MOUNTED" becomes useful when it says where, and by whom. */
async function withUsers(error: PloopError, attachment: Pick<Attachment, 'device' | 'devno'>): Promise<PloopError> {
  if (attachment.device === null) return error;
  const users = await usersOfDevice({ device: attachment.device, devno: attachment.devno });
  const where = users.mountPoints.length > 0 ? `mounted on ${users.mountPoints.join(', ')}` : 'open';
  const who = users.processes.length > 0 ? `; used by ${usersSentence(users.processes)}` : '';
  const first = users.mountPoints[0];
  const hint = first === undefined ? 'End what uses the device, then detach again.' : `Unmount it first: ploop umount ${first}`;
  return new PloopError('MOUNTED', `${attachment.device} is ${where}${who}`, { hint, details: { ...users }, cause: error });
}

export interface ManagedResult {
  attachment: string;
  keeper: number;
  worker: number;
  /** Of the program that serves now. */
  version: string;
  /** How long the last change of workers took, from the request to the first one served. */
  handoverMs: number;
}

export interface ManageOptions extends RunDirectoryOption {
  timeoutMs?: number | undefined;
}

/** Starts the worker again that died too often, and a keeper where it was killed. Answers when the device is served. */
export function recoverAttachment(attachment: Pick<Attachment, 'attachment'>, options: ManageOptions = {}): Promise<ManagedResult> {
  return manage('recover', attachment, options);
}

/** The installed ploopd takes over from the one that runs; the device sees a pause. */
export function upgradeAttachment(attachment: Pick<Attachment, 'attachment'>, options: ManageOptions = {}): Promise<ManagedResult> {
  return manage('upgrade', attachment, options);
}

function manage(command: string, { attachment }: Pick<Attachment, 'attachment'>, options: ManageOptions): Promise<ManagedResult> {
  checkOptions(command, options, ['runDir', 'timeoutMs']);
  return ploopd([command, attachment, '--run-dir', runDirectory(options), '--timeout-ms', String(options.timeoutMs ?? 30_000)]);
}

/** The disk was given this size: its device is to show it. */
export async function showSize(
  { attachment }: Pick<Attachment, 'attachment'>,
  options: RunDirectoryOption & { sizeBytes: number },
): Promise<void> {
  await ploopd(['capacity', attachment, '--run-dir', runDirectory(options), '--size', String(options.sizeBytes)]);
}

/** Runs one command of the daemon's program. */
export async function ploopd<T>(args: readonly string[]): Promise<T> {
  const { stdout, stderr, exitCode } = await runDaemon(args);
  const line = stdout.trim().split('\n').at(-1) ?? '';
  let reply: { ok?: boolean; result?: T; error?: { code?: string; message?: string; hint?: string } };
  try {
    reply = JSON.parse(line) as typeof reply;
  } catch (error) {
    const said = stderr.trim().split('\n').slice(-5).join('; ');
    throw new PloopError('DAEMON', `ploopd ${args[0] ?? ''} ended with status ${exitCode}${said === '' ? '' : `: ${said}`}`, {
      cause: error,
    });
  }
  if (reply.ok === true) return reply.result as T;
  const { code, message, hint } = reply.error ?? {};
  throw new PloopError(isErrorCode(code) ? code : 'DAEMON', message ?? 'ploopd gave no reason', { hint });
}

/** Control-C may hit the child before it has a session of its own. Detaching is what cleans up then, so it is done again. */
async function runDaemon(args: readonly string[]): Promise<RunResult> {
  const once = (): Promise<RunResult> => run(nativeFile('ploopd'), args, { accept: 'any' });
  return once().catch((error: unknown) => {
    const hit = error instanceof PloopError && error.details?.['signal'] === 'SIGINT';
    if (hit && args[0] === 'detach') return once();
    throw error;
  });
}
