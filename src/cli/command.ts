// SPDX-License-Identifier: Apache-2.0
// A command is data plus a function. Parser, --help, man page and completion all come from this table.

export interface Argument {
  name: string;
  summary: string;
  required?: boolean;
  /** Takes all remaining words (only the last argument). */
  variadic?: boolean;
}

export interface Option {
  /** Commander's notation: `--size <size>`, `-f, --force`, `--no-loop`. */
  flags: string;
  summary: string;
  /** Parses and checks the word; throws PloopError INVALID_ARGUMENT naming the option. */
  parse?: (word: string) => unknown;
  required?: boolean;
  choices?: readonly string[];
  default?: unknown;
}

export interface Context {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
  env: Record<string, string | undefined>;
  /** Aborted by Control-C and SIGTERM; everything that waits takes it. */
  signal: AbortSignal;
  /** --json was given: stdout gets one JSON document and nothing else. */
  json: boolean;
  /** Writes the result: the object with --json, otherwise the text. */
  result(value: unknown, text: string): void;
  /** A line for people on stderr; nothing with --json or --quiet. */
  note(text: string): void;
  /** A progress bar on a terminal's stderr; nothing elsewhere. Call end() always. */
  progress(label: string): { update(done: number, total: number): void; end(): void };
}

export type ParsedArguments = Record<string, string | string[] | undefined>;
export type ParsedOptions = Record<string, unknown>;

export interface Command {
  /** Every command gets --json, --quiet and --help from the framework. */
  name: string;
  aliases?: readonly string[];
  summary: string;
  description?: string;
  arguments?: readonly Argument[];
  options?: readonly Option[];
  /** Everything from the second argument on is handed on as it is, dashes included: `vzctl exec 101 ls -l`. */
  passThrough?: boolean;
  /** What it is for goes to stdout as bytes: --json's document, also that of a failure, goes to stderr. */
  stdoutIsData?: boolean;
  /** `[command line, what it does]` */
  examples?: readonly (readonly [string, string])[];
  /** Returns the exit status; nothing = 0. Failures are thrown as PloopError. */
  run(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<number | void>;
}

/** A program's commands by name, each to be loaded. */
export type CommandTable = Readonly<Record<string, () => Promise<Command>>>;

/** A program: ploop, vzctl, vzlist. One without sub-commands has `command` only. */
export interface Program {
  name: string;
  summary: string;
  description: string;
  commands?: readonly Command[];
  command?: Command;
}
