// SPDX-License-Identifier: Apache-2.0
// Programs that get the user's terminal: a shell inside a container, a command whose output is the result.
import { constants } from 'node:os';

import { childEnvironment } from './environment.js';
import { failureError, interrupted } from './failure.js';

export interface InteractiveOptions {
  /** Aborted: the program gets SIGTERM. Leave out where the program itself should see Control-C. */
  signal?: AbortSignal | undefined;
  cwd?: string | undefined;
  env?: Record<string, string | undefined> | undefined;
}

/** How a program ended: with a status, or by a signal (then the status is 128 + its number, as in a shell). */
export interface Ending {
  exitCode: number;
  signal: string | null;
}

/** The terminal sends these to the whole foreground group; from anywhere else they reach this process only. */
const HANDED_ON: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGQUIT'];

/**
 * Runs a program on this process's stdin, stdout and stderr and answers how it ended: any exit status is an answer, not
 * an error. While it runs, Control-C is the program's: this process neither dies of it nor reacts.
 */
export async function runInteractive(program: string, args: readonly string[], options: InteractiveOptions = {}): Promise<Ending> {
  const { execa } = await import('execa');
  if (options.signal?.aborted === true) throw interrupted([program, ...args].join(' '));
  const child = execa(program, [...args], {
    stdio: 'inherit',
    reject: false,
    env: childEnvironment({ LC_ALL: process.env.LC_ALL, ...options.env }),
    extendEnv: false,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stopHandingOn = handOnSignals((signal) => child.kill(signal));
  const result = await child.finally(stopHandingOn);
  if (child.pid === undefined) {
    throw failureError({
      program,
      command: result.escapedCommand,
      exitCode: undefined,
      signal: undefined,
      stderr: '',
      startError: result.code ?? 'unknown error',
      cwd: options.cwd,
      timedOutMs: undefined,
      outputLimitBytes: undefined,
      cause: result.cause,
    });
  }
  const signal = result.signal ?? null;
  return { exitCode: result.exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal };
}

function ignore(): void {
  // Control-C is the program's.
}

function handOnSignals(send: (signal: NodeJS.Signals) => void): () => void {
  process.on('SIGINT', ignore);
  for (const signal of HANDED_ON) process.on(signal, send);
  return () => {
    process.off('SIGINT', ignore);
    for (const signal of HANDED_ON) process.off(signal, send);
  };
}
