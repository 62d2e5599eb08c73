// SPDX-License-Identifier: Apache-2.0
// Children that move bulk data among themselves: their stdin and stdout are handed on as descriptors, so that nothing of it
// passes through here. What a child has to tell us comes as JSON lines on descriptor 3.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import { childEnvironment } from './environment.js';
import { failureError, interrupted } from './failure.js';
import { rememberChild } from './running.js';
import { stopWhenAsked } from './stop.js';

export interface FlowOptions {
  /** 'pipe': another child writes into it (`input`). */
  stdin: 'inherit' | 'ignore' | 'pipe';
  /** Another child's `input`, ours, or a short text for us. */
  stdout: 'inherit' | 'capture' | Writable;
  /** Called with every line of descriptor 3 that is JSON. */
  onReport?: ((line: unknown) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface FlowEnd {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface Flow {
  /** To be handed to the child that writes into this one, then closed with release(). */
  readonly input: Writable | null;
  /** Closes our end of `input`: this child then sees the end of its input when the writer is gone. */
  release(): void;
  /** Whatever the exit status; rejects when it could not be started, was killed, or the signal was aborted. */
  readonly ended: Promise<FlowEnd>;
}

const KEPT_CHARACTERS = 256 * 1024;

export function startFlow(program: string, args: readonly string[], options: FlowOptions): Flow {
  const { signal, stdin, stdout, onReport } = options;
  const command = [program, ...args].join(' ');
  if (signal?.aborted === true) throw interrupted(command);
  const child = spawn(program, [...args], {
    stdio: [stdin, stdout === 'capture' ? 'pipe' : stdout, 'pipe', onReport === undefined ? 'ignore' : 'pipe'],
    env: childEnvironment(),
    detached: true,
  });
  const stopper = stopWhenAsked(child.pid, { signal, group: true });
  const forget = rememberChild(child.pid, true);
  const texts = [keep(child.stdout), keep(child.stderr)];
  const reports = child.stdio[3] as Readable | null;
  if (onReport !== undefined && reports !== null) forEachReport(reports, onReport);
  child.stdin?.on('error', () => undefined);
  const ended = new Promise<FlowEnd>((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException | null, killed: NodeJS.Signals | null): void =>
      reject(
        failureError({
          program,
          command,
          exitCode: undefined,
          signal: killed ?? undefined,
          stderr: texts[1]?.() ?? '',
          startError: cause === null ? undefined : (cause.code ?? 'unknown error'),
          cwd: undefined,
          timedOutMs: undefined,
          outputLimitBytes: undefined,
          cause,
        }),
      );
    child.on('error', (error) => fail(error, null));
    child.on('close', (exitCode, killed) => {
      stopper.release();
      forget();
      if (stopper.reason === 'aborted') reject(interrupted(command));
      else if (exitCode === null) fail(null, killed);
      else resolve({ exitCode, stdout: texts[0]?.() ?? '', stderr: texts[1]?.() ?? '' });
    });
  });
  ended.catch(() => undefined);
  return { input: child.stdin, release: () => void child.stdin?.destroy(), ended };
}

function keep(stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-KEPT_CHARACTERS);
  });
  return () => text;
}

function forEachReport(stream: Readable, onReport: (line: unknown) => void): void {
  stream.on('error', () => undefined);
  createInterface({ input: stream }).on('line', (line) => {
    try {
      onReport(JSON.parse(line));
    } catch {
      // Half a line of a child that was killed.
    }
  });
}
