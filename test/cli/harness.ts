// SPDX-License-Identifier: Apache-2.0
// Runs a program table in this process with collected output.
import { PassThrough } from 'node:stream';
import type { Command, Program } from '../../src/cli/command.js';
import type { ContextOptions } from '../../src/cli/context.js';
import { main } from '../../src/cli/program.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export async function runMain(program: Program, argv: readonly string[], options: ContextOptions = {}): Promise<Outcome> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const status = await main(program, argv, { env: {}, signal: new AbortController().signal, ...options, stdout, stderr });
  const text = (stream: PassThrough): string => ((stream.read() as Buffer | null) ?? Buffer.alloc(0)).toString();
  return { status, stdout: text(stdout), stderr: text(stderr) };
}

export function programOf(...commands: Command[]): Program {
  return { name: 'prog', summary: 'a program', description: 'A program for tests.', commands };
}
