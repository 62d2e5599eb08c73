// SPDX-License-Identifier: Apache-2.0
// What the commands of one image share: the argument that names it, and the run directory.
import type { OnFull } from '../../attach/attachments.js';
import type { Argument, Context, Option, ParsedArguments, ParsedOptions } from '../command.js';

export const IMAGE_ARGUMENT: Argument = { name: 'dir', summary: 'the image: a directory that `ploop create` made', required: true };

export const SNAPSHOT_ARGUMENT: Argument = { name: 'id', summary: 'id, unique id prefix or name of a snapshot', required: true };

export const ON_FULL_OPTION: Option = {
  flags: '--on-full <what>',
  summary: "while the host's file system is full, writes wait for room or fail",
  choices: ['pause', 'error'],
  default: 'pause',
};

export function onFull(options: ParsedOptions): OnFull {
  return options['onFull'] === 'error' ? 'error' : 'pause';
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
