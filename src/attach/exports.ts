// SPDX-License-Identifier: Apache-2.0
// NBD exports of images and snapshots (docs/nbd.md): an attached image's worker serves them as well; for a detached one a
// ploopd without a device is started, which ends with its last export.

import { unlink } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { findSnapshot } from '../image/snapshots.js';
import { checkOptions, checkPath, checkText } from '../native/arguments.js';
import { attachmentsOf, findAttachment, listAttachments, type Attachment } from './attachments.js';
import { control } from './control.js';
import type { NbdExport } from './control-operations.js';
import { attachImage, detachAttachment, ploopd } from './ploopd.js';
import { runDirectory, type RunDirectoryOption } from './run-directory.js';

export interface ImageExport extends NbdExport {
  attachment: string;
  /** Of the image. */
  directory: string;
  snapshot: string | null;
}

export interface ExportImageOptions extends RunDirectoryOption {
  /** Where to listen: exactly one of the two. */
  socket?: string | undefined;
  /** "ADDR", "ADDR:PORT", ":PORT"; port 0 is any. */
  listen?: string | undefined;
  /** Id, unique prefix or name; a snapshot is always exported read-only. */
  snapshot?: string | undefined;
  readOnly?: boolean | undefined;
  /** Of the export; default: the image's label or the name of its directory. */
  name?: string | undefined;
  description?: string | undefined;
  /** A directory with ca-cert.pem, server-cert.pem and server-key.pem, or with keys.psk. */
  tls?: string | undefined;
  /** Clients need a certificate of that CA. */
  verifyPeer?: boolean | undefined;
  /** TCP without TLS also where others than this host can reach it. */
  insecurePlain?: boolean | undefined;
  /** A client without a request is cut off after this long. Default: one day; 0 = never. */
  idleMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

const OPTIONS = 'runDir socket listen snapshot readOnly name description tls verifyPeer insecurePlain idleMs signal'.split(' ');

const DAY_MS = 86_400_000;

export async function exportImage(dir: string, options: ExportImageOptions): Promise<ImageExport> {
  checkPath('export: dir', dir);
  checkOptions('export', options, OPTIONS);
  const descriptor = await readDescriptor(dir);
  const snapshot = options.snapshot === undefined ? undefined : findSnapshot(descriptor, options.snapshot).id;
  const name = checkText('export: name', options.name ?? defaultName(dir, descriptor.label), { maxBytes: 255 });
  const before = await findAttachment(dir, { runDir: options.runDir, snapshot });
  const live = before?.live === true;
  const attachment = live ? before.attachment : await startBare(dir, snapshot, options);
  try {
    const made = await ploopd<NbdExport>(exportArguments(attachment, name, options));
    return { attachment, directory: resolve(dir), snapshot: snapshot ?? null, ...made };
  } catch (error) {
    if (!live) await detachAttachment({ attachment, device: null, devno: null }, { runDir: options.runDir });
    throw error;
  }
}

function defaultName(dir: string, label: string | null): string {
  return [label, basename(resolve(dir)), 'disk'].find((name) => name !== null && name !== '') ?? 'disk';
}

async function startBare(dir: string, snapshot: string | undefined, options: ExportImageOptions): Promise<string> {
  const { runDir, readOnly, signal } = options;
  return (await attachImage(dir, { runDir, readOnly, signal, snapshot, loop: false, file: false })).attachment;
}

function exportArguments(attachment: string, name: string, options: ExportImageOptions): string[] {
  const args = ['export', attachment, '--run-dir', runDirectory(options), '--name', name, '--idle-ms', String(options.idleMs ?? DAY_MS)];
  if (options.socket !== undefined) args.push('--socket', resolve(options.socket));
  if (options.listen !== undefined) args.push('--listen', options.listen);
  if (options.description !== undefined) args.push('--description', options.description);
  if (options.readOnly === true) args.push('--read-only');
  if (options.tls !== undefined) args.push('--tls', resolve(options.tls));
  if (options.verifyPeer === true) args.push('--tls-verify-peer');
  if (options.insecurePlain === true) args.push('--insecure-plain');
  return args;
}

/** Every export of this run directory. Attachments without a worker at the moment are left out. */
export async function listExports(options: RunDirectoryOption = {}): Promise<ImageExport[]> {
  const live = (await listAttachments(options)).filter((one) => one.live && one.worker > 0);
  return (await Promise.all(live.map(exportsOf))).flat();
}

async function exportsOf(one: Attachment): Promise<ImageExport[]> {
  const { exports } = await control(one, 'exports', {}, { timeoutMs: 10_000 });
  const { attachment, directory, snapshot } = one;
  return exports.map((each) => ({ attachment, directory, snapshot, ...each }));
}

export interface UnexportOptions extends RunDirectoryOption {
  snapshot?: string | undefined;
  /** Of the export; default: all exports of the image, or of the snapshot. */
  name?: string | undefined;
  /** Also while clients are connected: requests under way are answered, then the connections end. */
  force?: boolean | undefined;
}

/** Ends exports of an image. What was started for them alone is detached. */
export async function unexportImage(dir: string, options: UnexportOptions = {}): Promise<ImageExport[]> {
  checkPath('unexport: dir', dir);
  checkOptions('unexport', options, ['runDir', 'snapshot', 'name', 'force']);
  const wanted = options.snapshot === undefined ? undefined : findSnapshot(await readDescriptor(dir), options.snapshot).id;
  const attached = (await attachmentsOf(dir, options)).filter((one) => one.live && (wanted === undefined || one.snapshot === wanted));
  const all = (await Promise.all(attached.map(exportsOf))).flat();
  const chosen = all.filter((one) => options.name === undefined || one.name === options.name);
  if (chosen.length === 0) throw await nothingToEnd(dir, options.name, all);
  for (const one of chosen) await endExport(attached, one, options);
  for (const one of attached) await detachBare(one, options);
  return chosen;
}

async function nothingToEnd(dir: string, name: string | undefined, all: readonly ImageExport[]): Promise<PloopError> {
  // Names what is not an image, before saying that it is not exported.
  await readDescriptor(dir);
  const text = name === undefined ? `${resolve(dir)} is not exported` : `${resolve(dir)} has no export "${name}"`;
  return new PloopError('NOT_FOUND', text, all.length === 0 ? {} : { hint: `It has: ${all.map((one) => one.name).join(', ')}` });
}

async function endExport(attached: readonly Attachment[], one: ImageExport, options: UnexportOptions): Promise<void> {
  const attachment = attached.find(({ attachment: id }) => id === one.attachment);
  if (attachment === undefined) return;
  try {
    await control(attachment, 'unexport', { name: one.name, force: options.force === true });
  } catch (error) {
    if (!(error instanceof PloopError) || error.code !== 'BUSY') throw error;
    throw new PloopError('BUSY', error.message, { hint: 'End the clients, or cut them off with --force.', cause: error });
  }
  if (one.socket !== null) await unlink(one.socket).catch(() => undefined);
}

/** Nothing but exports needed it, and there are none any more. */
async function detachBare(one: Attachment, options: UnexportOptions): Promise<void> {
  const { exports, device } = await control(one, 'exports', {});
  if (!device && exports.length === 0) await detachAttachment(one, { runDir: options.runDir });
}
