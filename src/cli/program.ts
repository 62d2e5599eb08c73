// SPDX-License-Identifier: Apache-2.0
// Runs a program: parse, run the command, turn what was thrown into a sentence and an exit status.
import { createRequire } from 'node:module';
import { CommanderError } from 'commander';
import type { Command, CommandTable, Program } from './command.js';
import { isCompletionRequest, runCompletion } from './completion.js';
import { type ContextOptions, createContext } from './context.js';
import { renderErrorJson, renderErrorText, toPloopError } from './failure.js';
import { watchInterrupts } from './interrupt.js';
import { buildParser, type Invocation } from './parser.js';

export const VERSION = (createRequire(import.meta.url)('../../package.json') as { version: string }).version;

/** Was --json given? Asked when parsing has failed, too; what follows `--` belongs to somebody else. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json');
}

/** Runs the program with these arguments (without node and script); returns the exit status and never throws. */
export async function main(program: Program, argv: readonly string[], given: ContextOptions = {}): Promise<number> {
  const stderr = given.stderr ?? process.stderr;
  const stdout = given.stdout ?? process.stdout;
  const env = given.env ?? process.env;
  const interrupts = given.signal ? undefined : watchInterrupts((text) => void stderr.write(`${program.name}: ${text}\n`));
  const signal = given.signal ?? interrupts?.signal ?? new AbortController().signal;
  let json = wantsJson(argv);
  let status = 0;
  let documents = stdout;
  const invoke = async ({ command, args, options }: Invocation): Promise<void> => {
    const { json: asJson, quiet, ...own } = options;
    json = asJson === true;
    documents = command.stdoutIsData === true ? stderr : stdout;
    const context = createContext({ ...given, stdout: documents, stderr, env, signal, json, quiet: quiet === true });
    status = (await command.run(context, args, own)) ?? 0;
  };
  try {
    const parser = buildParser(program, { invoke, print: (text) => void stdout.write(text), version: VERSION });
    if (isCompletionRequest(argv)) await runCompletion(parser, argv);
    else await parser.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const failure = toPloopError(error, calledAs(program, argv), signal);
    const debug = env.PLOOP_DEBUG !== undefined && env.PLOOP_DEBUG !== '';
    if (json) documents.write(renderErrorJson(failure));
    else stderr.write(renderErrorText(program.name, failure, debug));
    status = failure.exitStatus;
  } finally {
    interrupts?.stop();
  }
  return status;
}

/** "ploop", or "ploop clone" where there is such a command. */
function calledAs(program: Program, [first = '']: readonly string[]): string {
  const known = program.commands?.some(({ name, aliases }) => name === first || aliases?.includes(first) === true);
  return known === true ? `${program.name} ${first}` : program.name;
}

/** The command of that name alone (loading all takes longer than most of them run), or all, when the table has no such name. */
export async function loadCommands(table: CommandTable, only?: string): Promise<Command[]> {
  const alone = only !== undefined && Object.hasOwn(table, only);
  const wanted = Object.entries(table).filter(([name]) => !alone || name === only);
  return Promise.all(wanted.map(([, load]) => load()));
}

/** For bin/: runs with the process's own arguments and sets its exit status. A reader that closes our output early is no error. */
export async function runProgram(program: Program): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 15));
  process.exitCode = await main(program, process.argv.slice(2));
}
