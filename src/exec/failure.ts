// SPDX-License-Identifier: Apache-2.0
// Turns the ways in which a child process can fail into PloopError.
import { existsSync } from 'node:fs';

import { PloopError } from '../errors.js';
import { debianPackageOf } from './tools.js';

const TAIL_LINES = 5;
const TAIL_CHARS = 2000;

/** What is known of a child that did not do its job. */
export interface Failure {
  program: string;
  command: string;
  exitCode: number | undefined;
  signal: string | undefined;
  stderr: string;
  /** errno name when the program could not be started: 'ENOENT', 'EACCES'… */
  startError: string | undefined;
  cwd: string | undefined;
  timedOutMs: number | undefined;
  outputLimitBytes: number | undefined;
  cause: unknown;
}

export function toolMissing(program: string, cause?: unknown): PloopError {
  const debianPackage = debianPackageOf(program);
  const hint =
    debianPackage === undefined ? `Install it, or put its directory into PATH.` : `Install it with: apt-get install ${debianPackage}`;
  return new PloopError('TOOL_MISSING', `the program "${program}" is not installed`, {
    hint,
    details: { program, package: debianPackage ?? null },
    cause,
  });
}

/** The last lines of what a program said, for a message. */
export function tailOf(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.slice(-TAIL_LINES).join('; ').slice(-TAIL_CHARS);
}

export function interrupted(command: string): PloopError {
  return new PloopError('INTERRUPTED', `interrupted while running: ${command}`);
}

export function failureError(failure: Failure): PloopError {
  if (failure.startError !== undefined) return startFailure(failure, failure.startError);
  if (failure.timedOutMs !== undefined) {
    return new PloopError('TIMEOUT', `${failure.command} did not end within ${failure.timedOutMs} ms`, {
      details: details(failure),
      cause: failure.cause,
    });
  }
  const said = tailOf(failure.stderr);
  return new PloopError('TOOL_FAILED', `${failure.command} ${ending(failure)}${said === '' ? '' : `: ${said}`}`, {
    details: details(failure),
    cause: failure.cause,
  });
}

function startFailure(failure: Failure, errno: string): PloopError {
  if (failure.cwd !== undefined && !existsSync(failure.cwd)) {
    return new PloopError('NOT_FOUND', `${failure.cwd}: no such directory to run ${failure.program} in`);
  }
  if (errno === 'ENOENT') return toolMissing(failure.program, failure.cause);
  return new PloopError('TOOL_FAILED', `${failure.program} could not be started: ${errno}`, {
    details: details(failure),
    cause: failure.cause,
  });
}

function ending(failure: Failure): string {
  if (failure.outputLimitBytes !== undefined) return `wrote more than ${failure.outputLimitBytes} bytes`;
  if (failure.signal !== undefined) return `was killed by ${failure.signal}`;
  return `failed with exit status ${failure.exitCode ?? 'unknown'}`;
}

function details(failure: Failure): Record<string, unknown> {
  return {
    command: failure.command,
    exitCode: failure.exitCode ?? null,
    signal: failure.signal ?? null,
    stderr: failure.stderr.slice(-TAIL_CHARS),
  };
}
