// SPDX-License-Identifier: Apache-2.0
// Child processes run only through this folder: argument arrays, no shell, bounded output, errors that say what ran.
import type { Options } from 'execa';

import { childEnvironment } from './environment.js';
import { failureError, interrupted } from './failure.js';
import { rememberChild } from './running.js';
import { stopWhenAsked } from './stop.js';

export interface RunOptions {
  /** Aborts with INTERRUPTED: SIGTERM, then SIGKILL after five seconds. */
  signal?: AbortSignal | undefined;
  cwd?: string | undefined;
  /** Added to the environment of this process; undefined removes a variable. */
  env?: Record<string, string | undefined> | undefined;
  /** Text or bytes for stdin, or an open file descriptor; default: no input. 'inherit' hands on the terminal. */
  input?: string | Buffer | 'inherit' | { fd: number } | undefined;
  /** Bounded capture (16 MiB each of stdout and stderr); 'inherit' hands on stdout and stderr. */
  output?: 'capture' | 'inherit' | undefined;
  timeoutMs?: number | undefined;
  /** Exit statuses that are not failures (default [0]); 'any' accepts all. */
  accept?: readonly number[] | 'any' | undefined;
}

export interface RunResult {
  exitCode: number;
  signal: string | null;
  stdout: string;
  stderr: string;
}

const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;

/**
 * Runs a program to its end, without a shell. Missing: TOOL_MISSING with the apt line. Failure: TOOL_FAILED with
 * command, exit code and the end of stderr. Aborted: INTERRUPTED, once the program is gone.
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { signal, timeoutMs, cwd } = options;
  const { execa } = await import('execa'); // half of all modules: loaded by whom it serves
  if (signal?.aborted === true) throw interrupted([program, ...args].join(' '));
  const settings = execaOptions(options);
  const child = execa(program, [...args], settings);
  const stopper = stopWhenAsked(child.pid, { signal, timeoutMs, group: settings.detached });
  const forget = rememberChild(child.pid, settings.detached);
  const result = await child.finally(() => {
    stopper.release();
    forget();
  });
  // Control-C between fork and setsid reaches the child as well, before our own handler has run.
  const caught = result.signal === 'SIGINT' && signal !== undefined;
  if (stopper.reason === 'aborted' || caught) throw interrupted(result.escapedCommand);
  const ended = {
    exitCode: result.exitCode ?? -1,
    signal: result.signal ?? null,
    stdout: textOf(result.stdout),
    stderr: textOf(result.stderr),
  };
  const ran = result.exitCode !== undefined && !result.isMaxBuffer && stopper.reason === undefined;
  if (ran && accepts(options.accept, ended.exitCode)) return ended;
  throw failureError({
    program,
    command: result.escapedCommand,
    exitCode: result.exitCode,
    signal: result.signal,
    stderr: ended.stderr,
    startError: child.pid === undefined ? (result.code ?? 'unknown error') : undefined,
    cwd,
    timedOutMs: stopper.reason === 'timeout' ? timeoutMs : undefined,
    outputLimitBytes: result.isMaxBuffer ? OUTPUT_LIMIT_BYTES : undefined,
    cause: result.cause,
  });
}

function execaOptions(options: RunOptions) {
  const { input, cwd } = options;
  const output = options.output === 'inherit' ? 'inherit' : 'pipe';
  return {
    ...stdinOptions(input),
    stdout: output,
    stderr: output,
    reject: false,
    stripFinalNewline: false,
    maxBuffer: OUTPUT_LIMIT_BYTES,
    env: childEnvironment(options.env),
    extendEnv: false,
    // A session of its own unless it needs the terminal; see running.ts.
    detached: input !== 'inherit' && output !== 'inherit',
    ...(cwd === undefined ? {} : { cwd }),
  } satisfies Options;
}

function stdinOptions(input: RunOptions['input']) {
  if (input === undefined) return { stdin: 'ignore' as const };
  if (input === 'inherit') return { stdin: 'inherit' as const };
  // execa takes any descriptor; its types know those up to 9 only.
  if (typeof input === 'object' && 'fd' in input) return { stdin: input.fd as 3 };
  return { input };
}

function textOf(output: unknown): string {
  return typeof output === 'string' ? output : '';
}

function accepts(accepted: RunOptions['accept'], exitCode: number): boolean {
  return accepted === 'any' || (accepted ?? [0]).includes(exitCode);
}
