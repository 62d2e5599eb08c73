// SPDX-License-Identifier: Apache-2.0
// Manual pages (roff) and README sections (markdown) from the Program tables; bin/docs.mts writes them, a test compares them.
import { ERROR_EXIT_STATUS } from '../errors.js';
import type { Argument, Command, Option, Program } from './command.js';
import { COMMON_OPTIONS } from './parser.js';

/** `[dir]`, `<dir>`, `<command...>`, as --help shows it. */
function argumentWord({ name, required, variadic }: Argument): string {
  const word = variadic ? `${name}...` : name;
  return required ? `<${word}>` : `[${word}]`;
}

function synopsis(program: string, command: Command, withName = true): string {
  const words = (command.arguments ?? []).map(argumentWord);
  const needed = (command.options ?? []).filter((option) => option.required).map((option) => option.flags);
  return [program, ...(withName ? [command.name] : []), ...words, ...needed, '[options]'].join(' ');
}

function optionText(option: Option): string {
  const facts = [
    option.required && 'required',
    option.choices && `one of ${option.choices.join(', ')}`,
    option.default !== undefined && `default ${JSON.stringify(option.default)}`,
  ].filter(Boolean);
  return facts.length === 0 ? option.summary : `${option.summary} (${facts.join('; ')})`;
}

// ---- roff ----

/** Text safe for roff: backslashes and dashes literal, no line that starts with a control character. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
}

function tagged(tag: string, text: string): string {
  return `.TP\n.B ${roff(tag)}\n${roff(text)}`;
}

function commandBody(command: Command): string[] {
  const lines = [
    ...(command.arguments ?? []).map((argument) => tagged(argument.name, argument.summary)),
    ...(command.options ?? []).map((option) => tagged(option.flags, optionText(option))),
  ];
  const examples = (command.examples ?? []).map(
    ([line, what]) => `.PP\n${roff(capital(what).replace(/\.$/, ''))}:\n.PP\n.nf\n.RS\n${roff(line)}\n.RE\n.fi`,
  );
  return [...lines, ...examples];
}

function commandSection(program: string, command: Command): string[] {
  const aliases = command.aliases?.length ? [`.PP\nAlso: ${command.aliases.map(roff).join(', ')}.`] : [];
  return [
    `.SS ${roff(synopsis(program, command))}`,
    roff(`${capital(command.description ?? command.summary)}`),
    ...aliases,
    ...commandBody(command),
  ];
}

function capital(text: string): string {
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.:!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function exitStatusSection(): string[] {
  const rows = Object.entries(ERROR_EXIT_STATUS).map(([code, status]) => `${status} ${code}`);
  return [
    '.SH EXIT STATUS',
    roff(`0 is success; otherwise the status of the error: ${rows.join(', ')}. Their meaning is in docs/errors.md.`),
  ];
}

/** The whole manual page of a program, section 8 of the manual. */
export function renderManPage(program: Program, version: string): string {
  const commands = program.commands ?? [];
  const usage = program.command ? synopsis(program.name, program.command, false) : `${program.name} <command> [options]`;
  const sections = [
    '.\\" Written by `npm run docs` from the tables in src/cli; do not edit.',
    `.TH ${program.name.toUpperCase()} 8 "" "ploop ${version}" "System administration"`,
    '.SH NAME',
    `${program.name} \\- ${roff(program.summary)}`,
    '.SH SYNOPSIS',
    `.B ${roff(usage)}`,
    '.SH DESCRIPTION',
    roff(program.command?.description ?? program.description),
    ...(program.command
      ? ['.SH OPTIONS', ...commandBody(program.command)]
      : ['.SH COMMANDS', ...commands.flatMap((command) => commandSection(program.name, command))]),
    '.SH COMMON OPTIONS',
    ...COMMON_OPTIONS.map((option) => tagged(option.flags, option.summary)),
    tagged('-h, --help', 'show help'),
    ...exitStatusSection(),
    '.SH SEE ALSO',
    ['ploop', 'vzctl', 'vzlist']
      .filter((name) => name !== program.name)
      .map((name) => `.BR ${name} (8)`)
      .join(',\n'),
  ];
  return `${sections.join('\n')}\n`;
}

// ---- markdown ----

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** A table of commands for the README. */
export function renderCommandTable(program: Program): string {
  const listed = program.commands?.map((command) => ({ command, line: synopsis(program.name, command) })) ?? [];
  const own = program.command ? [{ command: program.command, line: synopsis(program.name, program.command, false) }] : [];
  const rows = [...listed, ...own].map(({ command, line }) => {
    const aliases = command.aliases?.length ? ` (also ${command.aliases.map((alias) => `\`${alias}\``).join(', ')})` : '';
    return `| \`${cell(line)}\` | ${cell(command.summary)}${aliases} |`;
  });
  return ['| command | what it does |', '|---|---|', ...rows].join('\n');
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. */
export function replaceSection(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start === -1 || end < start) throw new Error(`no section between ${open} and ${close}`);
  return `${text.slice(0, start + open.length)}\n${content}\n${text.slice(end)}`;
}
