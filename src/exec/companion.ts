// SPDX-License-Identifier: Apache-2.0
// A child that works while its stdin is open and says so in lines: it outlives nothing that we leave half-done.
import { createInterface } from 'node:readline';

import { childEnvironment } from './environment.js';
import { failureError, interrupted } from './failure.js';
import { rememberChild } from './running.js';
import { stopWhenAsked } from './stop.js';

export interface Companion {
  readonly pid: number;
  /** Its next line; rejects when it ends, or the signal is aborted, before one came. */
  nextLine(): Promise<string>;
  /** Closes its stdin, which asks it to finish, and waits for its end. Idempotent. */
  finish(): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }>;
}

export interface CompanionOptions {
  signal?: AbortSignal | undefined;
  /** The beginning of its stdin, which stays open. */
  input?: string | undefined;
}

const OUTPUT_LIMIT_BYTES = 1024 * 1024;

export async function startCompanion(program: string, args: readonly string[], options: CompanionOptions = {}): Promise<Companion> {
  const { signal } = options;
  const { execa } = await import('execa');
  if (signal?.aborted === true) throw interrupted([program, ...args].join(' '));
  const child = execa(program, [...args], {
    stdin: 'pipe',
    reject: false,
    maxBuffer: OUTPUT_LIMIT_BYTES,
    env: childEnvironment(),
    extendEnv: false,
    detached: true,
  });
  const stopper = stopWhenAsked(child.pid, { signal, group: true });
  const forget = rememberChild(child.pid, true);
  const ended = child.finally(() => {
    stopper.release();
    forget();
  });
  // A companion that is gone must not end us by EPIPE: its end is reported by finish().
  child.stdin.on('error', () => undefined);
  if (options.input !== undefined) child.stdin.write(options.input);
  const failure = async (): Promise<never> => {
    const result = await ended;
    if (stopper.reason === 'aborted') throw interrupted(result.escapedCommand);
    throw failureError({
      program,
      command: result.escapedCommand,
      exitCode: result.exitCode,
      signal: result.signal,
      stderr: result.stderr,
      startError: child.pid === undefined ? (result.code ?? 'unknown error') : undefined,
      cwd: undefined,
      timedOutMs: undefined,
      outputLimitBytes: undefined,
      cause: result.cause,
    });
  };
  if (child.pid === undefined) return failure();
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid,
    async nextLine() {
      const next = await lines.next();
      return next.done === true ? failure() : next.value;
    },
    async finish() {
      child.stdin.end();
      const { exitCode, stdout, stderr } = await ended;
      return { exitCode, stdout, stderr };
    },
  };
}
