// SPDX-License-Identifier: Apache-2.0
// What a command gets to talk to the world: output streams, JSON or text, notes, progress, the abort signal.
import type { Context } from './command.js';
import { progressBar } from './progress.js';

export interface ContextOptions {
  stdout?: NodeJS.WritableStream;
  stderr?: NodeJS.WritableStream;
  env?: Record<string, string | undefined>;
  signal?: AbortSignal;
  json?: boolean;
  quiet?: boolean;
}

const NO_PROGRESS = { update(): void {}, end(): void {} };

function line(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

export function createContext(options: ContextOptions = {}): Context {
  const stdout = options.stdout ?? process.stdout;
  const stderr = options.stderr ?? process.stderr;
  const json = options.json ?? false;
  const silent = json || (options.quiet ?? false);
  return {
    stdout,
    stderr,
    env: options.env ?? process.env,
    signal: options.signal ?? new AbortController().signal,
    json,
    result(value, text) {
      if (json) stdout.write(`${JSON.stringify(value, null, 2)}\n`);
      else if (text !== '') stdout.write(line(text));
    },
    note(text) {
      if (!silent) stderr.write(line(text));
    },
    progress(label) {
      const onTerminal = 'isTTY' in stderr && stderr.isTTY === true;
      return silent || !onTerminal ? NO_PROGRESS : progressBar(stderr, label);
    },
  };
}
