// SPDX-License-Identifier: Apache-2.0
// Our own programs on another host, through ssh or what is given instead. They answer with their JSON document.

import { isErrorCode, PloopError } from '../errors.js';
import { run } from '../exec/run.js';

export interface RemoteHost {
  readonly host: string;
  /** Program and arguments that run one of our commands there. */
  command(program: 'ploop' | 'vzctl', args: readonly string[]): [string, string[]];
  /** Runs it; a failure that it answered has `details.answered`, so that one can be told from a connection that broke. */
  ask<T>(program: 'ploop' | 'vzctl', args: readonly string[], signal?: AbortSignal): Promise<T>;
}

export function remoteHost(host: string, rsh: readonly string[]): RemoteHost {
  if (host === '' || host.startsWith('-')) throw new PloopError('INVALID_ARGUMENT', `'${host}' is no host`);
  const [shell = 'ssh', ...before] = rsh;
  const command: RemoteHost['command'] = (program, args) => [shell, [...before, host, [program, ...args, '--json'].map(quoted).join(' ')]];
  return {
    host,
    command,
    async ask<T>(program: 'ploop' | 'vzctl', args: readonly string[], signal?: AbortSignal) {
      return remoteAnswer<T>(host, program, await run(...command(program, args), { signal, accept: 'any' }));
    },
  };
}

/** For the shell that sshd starts. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export function remoteAnswer<T>(host: string, program: string, ended: { stdout: string; stderr: string; exitCode: number }): T {
  let document: { error?: { code?: string; message?: string; hint?: string | null } } | undefined;
  try {
    document = JSON.parse(ended.stdout) as typeof document;
  } catch {
    // ssh itself failed, or our program is not there.
  }
  const { code, message, hint } = document?.error ?? {};
  if (isErrorCode(code))
    throw new PloopError(code, `${host}: ${message ?? code}`, { hint: hint ?? undefined, details: { answered: true } });
  if (document === undefined || ended.exitCode !== 0) {
    const said = ended.stderr.trim().split('\n').slice(-3).join('; ');
    throw new PloopError('TOOL_FAILED', `${host}: ${program} could not be run there (status ${ended.exitCode}): ${said}`);
  }
  return document as T;
}
