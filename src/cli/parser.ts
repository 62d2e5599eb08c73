// SPDX-License-Identifier: Apache-2.0
// A Program table becomes a commander parser. Nothing here prints or exits: help text is collected, errors are thrown.
import { Argument as CommanderArgument, Command as Parser, Option as CommanderOption } from 'commander';
import { PloopError } from '../errors.js';
import type { Command, Option, ParsedArguments, ParsedOptions, Program } from './command.js';

export const COMMON_OPTIONS: readonly Option[] = [
  { flags: '--json', summary: 'print one JSON document instead of text' },
  { flags: '-q, --quiet', summary: 'print no notes and no progress, only the result and errors' },
];

export interface Invocation {
  command: Command;
  args: ParsedArguments;
  options: ParsedOptions;
}

export interface ParserHooks {
  invoke(invocation: Invocation): Promise<void>;
  /** Help and version text. */
  print(text: string): void;
  version: string;
}

function toOption(option: Option): CommanderOption {
  const made = new CommanderOption(option.flags, option.required ? `${option.summary} (required)` : option.summary);
  if (option.parse) made.argParser(option.parse);
  if (option.choices) made.choices(option.choices);
  if (option.default !== undefined) made.default(option.default);
  return made;
}

function examplesText(command: Command): string {
  const lines = (command.examples ?? []).map(([line, what]) => `  ${line}\n      ${what}`);
  return lines.length === 0 ? '' : `\nExamples:\n${lines.join('\n')}`;
}

function fill(parser: Parser, command: Command, hooks: ParserHooks): void {
  const declared = command.arguments ?? [];
  for (const { name, summary, required, variadic } of declared) {
    const word = variadic ? `${name}...` : name;
    parser.addArgument(new CommanderArgument(required ? `<${word}>` : `[${word}]`, summary));
  }
  for (const option of [...(command.options ?? []), ...COMMON_OPTIONS]) parser.addOption(toOption(option));
  parser.helpOption('-h, --help', 'show this help');
  parser.addHelpText('after', examplesText(command));
  if (command.passThrough) parser.passThroughOptions();
  parser.action(async (...given: unknown[]) => {
    const args: ParsedArguments = {};
    declared.forEach(({ name }, index) => (args[name] = given[index] as string | string[] | undefined));
    const options = parser.optsWithGlobals<ParsedOptions>();
    checkRequired(command, options);
    await hooks.invoke({ command, args, options });
  });
}

/** Here and not by commander, which would name a missing option before the misspelt one. */
function checkRequired(command: Command, options: ParsedOptions): void {
  for (const { flags, required } of command.options ?? []) {
    if (!required || options[new CommanderOption(flags).attributeName()] !== undefined) continue;
    throw new PloopError('INVALID_ARGUMENT', `required option '${flags}' not specified`);
  }
}

export function buildParser(program: Program, hooks: ParserHooks): Parser {
  const root = new Parser(program.name);
  root.exitOverride();
  root.configureOutput({ writeOut: hooks.print, writeErr: () => {}, outputError: () => {} });
  root.version(hooks.version, '-V, --version', 'show the version');
  root.description(program.command?.description ?? program.description).summary(program.summary);
  if (program.command) fill(root, program.command, hooks);
  if (program.commands) fillCommands(root, program.commands, hooks);
  root.addHelpText('after', `\nShell completion:  eval "$(${program.name} completion bash)"   (or zsh, fish)`);
  return root;
}

function fillCommands(root: Parser, commands: readonly Command[], hooks: ParserHooks): void {
  root.usage('<command> [options]').helpOption('-h, --help', 'show this help').enablePositionalOptions();
  root.helpCommand('help [command]', 'show the help of a command');
  for (const option of COMMON_OPTIONS) root.addOption(toOption(option));
  for (const command of commands) {
    const sub = root
      .command(command.name)
      .summary(command.summary)
      .description(command.description ?? command.summary);
    for (const alias of command.aliases ?? []) sub.alias(alias);
    fill(sub, command, hooks);
  }
}
