// SPDX-License-Identifier: Apache-2.0
// What the commands of one image share: the argument that names it, and the run directory.
import type { OnFull } from '../../attach/attachments.js';
import type { SwitchedTo } from '../../attach/operations.js';
import { PloopError } from '../../errors.js';
import { formatSize } from '../../units.js';
import type { Argument, Context, Option, ParsedArguments, ParsedOptions } from '../command.js';

export const IMAGE_ARGUMENT: Argument = { name: 'dir', summary: 'the image: a directory that `ploop create` made', required: true };

export const SNAPSHOT_ARGUMENT: Argument = { name: 'id', summary: 'id, unique id prefix or name of a snapshot', required: true };

export const DISCARD_STATE_OPTION: Option = {
  flags: '--discard',
  summary: 'do not keep the state before: what was written since the last snapshot is lost',
};

/** What a switch changed beside the content. */
export function switchedText({ kept, sizeBytes, oldSizeBytes }: SwitchedTo): string {
  const size = sizeBytes === oldSizeBytes ? '' : `; the disk has ${formatSize(sizeBytes)} again, before ${formatSize(oldSizeBytes)}`;
  return `${size}${kept === null ? '' : `; the state before is snapshot ${kept.id} (${kept.name ?? 'without a name'})`}`;
}

export const ON_FULL_OPTION: Option = {
  flags: '--on-full <what>',
  summary: "while the host's file system is full, writes wait for room or fail",
  choices: ['pause', 'error'],
  default: 'pause',
};

export function onFull(options: ParsedOptions): OnFull {
  return options['onFull'] === 'error' ? 'error' : 'pause';
}

/** A number of seconds from 0.1 to a day. */
export function parseSeconds(option: string, given: string): number {
  const seconds = Number(given);
  if (/^\d+(\.\d+)?$/.test(given) && seconds >= 0.1 && seconds <= 86_400) return seconds;
  throw new PloopError('INVALID_ARGUMENT', `${option}: '${given}' is not a number of seconds from 0.1 to 86400`);
}

export function parsePercent(option: string, given: string): number {
  const percent = Number(given);
  if (/^\d+$/.test(given) && percent >= 1 && percent <= 100) return percent;
  throw new PloopError('INVALID_ARGUMENT', `${option}: '${given}' is not a whole number from 1 to 100`);
}

/** A required argument: the parser has seen to it. */
export function word(args: ParsedArguments, name: string): string {
  return args[name] as string;
}

/** An option's text; undefined when it was not given. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function runDirOption(ctx: Context): { runDir: string | undefined } {
  return { runDir: ctx.env['PLOOP_RUN_DIR'] };
}

/** For what deletes temporary snapshots that nobody holds any more. */
export function collectOptions(ctx: Context): { runDir: string | undefined; signal: AbortSignal; onNote: (note: string) => void } {
  return { ...runDirOption(ctx), signal: ctx.signal, onNote: (note) => ctx.note(note) };
}

/** Runs work with a progress bar that always ends. */
export async function withProgress<T>(
  ctx: Context,
  label: string,
  work: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  const bar = ctx.progress(label);
  try {
    return await work((done, total) => bar.update(done, total));
  } finally {
    bar.end();
  }
}
