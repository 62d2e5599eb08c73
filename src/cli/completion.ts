// SPDX-License-Identifier: Apache-2.0
// `<program> completion bash|zsh|fish` prints a script for the shell; the script asks `<program> complete -- WORDS`.
// The completer library knows commands and options; words that are paths are completed here, since its scripts turn the shell's own off.
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Argument, RootCommand } from '@bomb.sh/tab';
import type { Command as Parser } from 'commander';
import { PloopError } from '../errors.js';

const COMPLETION_SHELLS = ['bash', 'zsh', 'fish'] as const;

const PATH_ARGUMENTS = new Set(['dir', 'image', 'mountpoint', 'target', 'path']);

export function isCompletionRequest(argv: readonly string[]): boolean {
  return argv[0] === 'completion' || (argv[0] === 'complete' && argv[1] === '--');
}

export async function runCompletion(parser: Parser, argv: readonly string[]): Promise<void> {
  const shell = argv[1] ?? '';
  if (argv[0] === 'completion' && !COMPLETION_SHELLS.some((known) => known === shell)) {
    throw new PloopError('INVALID_ARGUMENT', `completion: '${shell}' is not one of ${COMPLETION_SHELLS.join(', ')}`, {
      hint: `For example: eval "$(${parser.name()} completion bash)"`,
    });
  }
  const { default: tab } = await import('@bomb.sh/tab/commander');
  const root = tab(parser, { completionCommandName: 'completion' });
  completePaths(root, await pathsFrom(argv.at(-1) ?? ''));
  await parser.parseAsync(argv, { from: 'user' });
}

function completePaths(root: RootCommand, paths: readonly string[]): void {
  const handler = function (this: Argument, complete: (value: string, description: string) => void): void {
    for (const path of paths) complete(path, '');
  };
  for (const command of [root, ...root.commands.values()]) {
    for (const argument of command.arguments.values()) if (PATH_ARGUMENTS.has(argument.name.toLowerCase())) argument.handler = handler;
  }
}

/** What is in the directory that a half-typed path names, written as it was typed. */
async function pathsFrom(typed: string): Promise<string[]> {
  const folder = typed.endsWith('/') ? typed : dirname(typed);
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const prefix = typed.includes('/') ? folder : '';
    return entries
      .map((entry) => join(prefix, entry.name) + (entry.isDirectory() ? '/' : ''))
      .map((path) => (typed.startsWith('./') ? `./${path}` : path));
  } catch {
    return [];
  }
}
