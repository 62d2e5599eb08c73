// SPDX-License-Identifier: Apache-2.0
// Runs the real commands as a user does: `node bin/ploop.js …`, in a process of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface CommandOutcome {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** stdout as JSON; throws when it is none. */
  json<T = Record<string, unknown>>(): T;
}

export interface StartedCommand {
  child: ChildProcess;
  /** To the command and all its children, as the terminal does on Control-C. */
  signalGroup(signal: NodeJS.Signals): void;
  ended: Promise<CommandOutcome>;
}

export function startCommand(
  program: 'ploop' | 'vzctl' | 'vzlist',
  args: readonly string[],
  env: Record<string, string> = {},
): StartedCommand {
  const script = fileURLToPath(new URL(`../../bin/${program}.js`, import.meta.url));
  const child = spawn(process.execPath, [script, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<CommandOutcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      const json = <T>(): T => JSON.parse(stdout) as T;
      resolve({ status, signal, stdout, stderr, json });
    });
  });
  const signalGroup = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, signal);
  };
  return { child, signalGroup, ended };
}

/** `ploop('info', dir, '--json')` */
export function ploop(...args: string[]): Promise<CommandOutcome> {
  return startCommand('ploop', args).ended;
}

/** The same for a command that must succeed; if not, what it complained about is the error. */
export async function ploopOk(...args: string[]): Promise<CommandOutcome> {
  const outcome = await ploop(...args);
  if (outcome.status !== 0) throw new Error(`ploop ${args.join(' ')} ended with ${outcome.status ?? outcome.signal}: ${outcome.stderr}`);
  return outcome;
}
