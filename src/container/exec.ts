// SPDX-License-Identifier: Apache-2.0
// Running a command, or a shell, in a running container, with the caller's own input and output.

import { PloopError } from '../errors.js';
import { type Ending, runInteractive } from '../exec/interactive.js';
import { run, type RunResult } from '../exec/run.js';
import { requireContainer } from './place/locate.js';
import type { VzRootOptions } from './place/roots.js';
import { DEFAULT_PATH } from './runtime/bundle.js';
import { execArguments } from './runtime/driver.js';
import { findShell } from './runtime/init.js';
import { requireRunning } from './state.js';

export interface ExecOptions extends VzRootOptions {
  /** Give the command a terminal of its own; default: when stdin and stdout are one. */
  tty?: boolean | undefined;
}

/** Hands on stdin, stdout and stderr; answers how the command ended. */
export async function execInContainer(ctid: string, command: readonly string[], options: ExecOptions = {}): Promise<Ending> {
  const [program, args] = await prepared(ctid, command, options);
  return runInteractive(program, args);
}

/** The same with output captured, for callers in a program. Any exit status is an answer. */
export async function captureInContainer(
  ctid: string,
  command: readonly string[],
  options: VzRootOptions & { input?: string | Buffer | undefined; signal?: AbortSignal | undefined } = {},
): Promise<RunResult> {
  const [program, args] = await prepared(ctid, command, { ...options, tty: false });
  return run(program, args, { accept: 'any', input: options.input, signal: options.signal });
}

/** A login shell in the container: bash where there is one, else sh. */
export async function enterContainer(ctid: string, options: ExecOptions = {}): Promise<Ending> {
  const { paths } = await requireContainer(ctid, options);
  await requireRunning(paths);
  const shell = await findShell(paths.mountPoint);
  if (shell === null) throw new PloopError('NOT_FOUND', `container ${ctid} has neither /bin/bash nor /bin/sh`);
  return execInContainer(ctid, [shell, '-l'], options);
}

async function prepared(ctid: string, command: readonly string[], options: ExecOptions): Promise<[string, string[]]> {
  const { paths } = await requireContainer(ctid, options);
  const { runtime, status } = await requireRunning(paths);
  if (status === 'paused')
    throw new PloopError('BUSY', `container ${ctid} is frozen`, { hint: 'A frozen container runs nothing until it is thawed.' });
  const tty = options.tty ?? (process.stdin.isTTY === true && process.stdout.isTTY === true);
  const env = [`PATH=${DEFAULT_PATH}`, 'HOME=/root', `TERM=${process.env['TERM'] ?? 'linux'}`];
  return execArguments(runtime, { tty, env, args: words(command) });
}

/** OpenVZ's `exec` takes a shell line, too: one word that only a shell can understand is given to one. */
export function words(command: readonly string[]): readonly string[] {
  const [line] = command;
  if (line === undefined) throw new PloopError('INVALID_ARGUMENT', 'no command to run in the container');
  return command.length === 1 && /[\s|&;<>()$`"'*?]/.test(line) ? ['/bin/sh', '-c', line] : command;
}
