// SPDX-License-Identifier: Apache-2.0
// Whatever was thrown becomes a PloopError, and that becomes text or JSON.
import { CommanderError } from 'commander';
import { ERROR_EXIT_STATUS, type ErrorCode, PloopError } from '../errors.js';

/** What is missing or too much is seen in the help; a choice that does not exist is named with those that do. */
const ARGUMENTS_WRONG = new Set([
  'commander.missingArgument',
  'commander.excessArguments',
  'commander.optionMissingArgument',
  'commander.unknownOption',
]);

/** `program`: as it was called, with the command. Commander's words: "error: unknown option '--sise'\n(Did you mean --size?)". */
function fromParser(error: CommanderError, program: string): PloopError {
  if (error.code === 'commander.help') {
    return new PloopError('INVALID_ARGUMENT', 'no command given', { hint: `The commands are listed by: ${program} --help` });
  }
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const guess = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  const hint = guess === '' && ARGUMENTS_WRONG.has(error.code) ? `How it is called: ${program} --help` : guess;
  return new PloopError('INVALID_ARGUMENT', first, { hint: hint === '' ? undefined : hint, cause: error });
}

/** What the host answers to any file operation; whatever the operation, it is not our defect. */
const HOST_ERRORS: Readonly<Record<string, ErrorCode>> = {
  EACCES: 'NOT_PERMITTED',
  EDQUOT: 'NO_SPACE',
  EIO: 'IO',
  ENOMEM: 'NO_MEMORY',
  ENOSPC: 'NO_SPACE',
  EPERM: 'NOT_PERMITTED',
  EROFS: 'READ_ONLY',
};

/** Of failures that say no more: what the C core meets has a place and a reason, and knows no commands. */
const USUAL_HINTS: Partial<Record<ErrorCode, string>> = {
  BUSY: 'Wait until that has ended, then run the same command again.',
  NO_SPACE: 'Make room on the file system that holds it (df shows how much it has), then run the same command again.',
  NOT_PERMITTED: 'Run the command as root.',
};

function withUsualHint(error: PloopError): PloopError {
  const { code, message, details, cause } = error;
  // Some say it themselves.
  const hint = error.hint ?? (message.includes('make room') ? undefined : USUAL_HINTS[code]);
  return hint === error.hint ? error : new PloopError(code, message, { hint, details, cause });
}

export function toPloopError(error: unknown, program: string, signal: AbortSignal): PloopError {
  if (error instanceof PloopError) return withUsualHint(error);
  if (error instanceof CommanderError) return fromParser(error, program);
  if (signal.aborted)
    return signal.reason instanceof PloopError ? signal.reason : new PloopError('INTERRUPTED', 'interrupted', { cause: error });
  const message = error instanceof Error ? error.message : String(error);
  const code = HOST_ERRORS[(error as NodeJS.ErrnoException | null)?.code ?? ''];
  if (code !== undefined) {
    return withUsualHint(new PloopError(code, message, { cause: error }));
  }
  return new PloopError('INTERNAL', message, { hint: 'This is a defect in ploop. PLOOP_DEBUG=1 shows where it happened.', cause: error });
}

export function renderErrorText(program: string, error: PloopError, debug: boolean): string {
  const lines = [`${program}: ${error.message}`];
  if (error.hint !== undefined) lines.push(error.hint);
  if (debug) lines.push(stackOf(error));
  return `${lines.join('\n')}\n`;
}

function stackOf(error: PloopError): string {
  const cause = error.cause instanceof Error && error.cause.stack !== undefined ? `\ncaused by ${error.cause.stack}` : '';
  return `${error.stack ?? ''}${cause}`;
}

export function renderErrorJson(error: PloopError): string {
  const { code, message, hint = null, details = null } = error;
  return `${JSON.stringify({ error: { code, message, hint, details, exitStatus: ERROR_EXIT_STATUS[code] } }, null, 2)}\n`;
}
