// SPDX-License-Identifier: Apache-2.0
// Contract (being implemented): child processes run only through here.

export interface RunOptions {
  signal?: AbortSignal | undefined;
  cwd?: string | undefined;
  env?: Record<string, string | undefined> | undefined;
  /** Text or bytes for stdin; default: no input. 'inherit' hands on the terminal. */
  input?: string | Buffer | 'inherit' | undefined;
  /** Bounded capture (default 16 MiB); 'inherit' hands on stdout/stderr. */
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

/** Runs a program with an argument array, no shell. Missing: TOOL_MISSING with the apt line. Failure: TOOL_FAILED with command, exit code, stderr tail. */
export declare function run(program: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
