// SPDX-License-Identifier: Apache-2.0
// vzctl start, stop, restart, status.
import { restartContainer, startContainer, type StartedContainer } from '../../container/start.js';
import { containerState } from '../../container/state.js';
import { stopContainer, type StoppedContainer } from '../../container/stop.js';
import { PloopError } from '../../errors.js';
import type { Command, Context, Option } from '../command.js';
import { VIA_OPTION, viaOf } from '../via.js';
import { CTID, ctidOf, rootsOf, RUNTIME, textOf, VZ_ROOT } from './options.js';

export const FAST: Option = { flags: '--fast', summary: 'kill everything at once instead of shutting down' };
export const TIMEOUT: Option = {
  flags: '--timeout <seconds>',
  summary: 'kill everything if the container has not shut down by then (default: 60)',
  parse: (word) => parseSeconds(word),
};

function parseSeconds(word: string): number {
  const seconds = Number(word);
  if (/^\d+(\.\d+)?$/.test(word) && seconds <= 86_400) return seconds;
  throw new PloopError('INVALID_ARGUMENT', `--timeout: '${word}' is not a number of seconds from 0 to 86400`);
}

export const startCommand: Command = {
  name: 'start',
  summary: 'mount a container and start its init',
  description: 'A root without an init of its own gets a small one, so that any root file system can be started.',
  arguments: [CTID],
  options: [RUNTIME, VIA_OPTION, VZ_ROOT],
  examples: [['vzctl start 101', 'start container 101']],
  async run(ctx, args, options) {
    const started = await startContainer(ctidOf(args), {
      ...rootsOf(options),
      runtime: textOf(options, 'runtime'),
      ...viaOf(options),
      signal: ctx.signal,
    });
    ctx.result(started, startedText(started));
  },
};

function startedText({ ctid, pid, runtime, init }: StartedContainer): string {
  return `Container ${ctid} started: process ${pid}, ${init === 'fallback' ? 'no init of its own' : init}, ${runtime}`;
}

export const stopCommand: Command = {
  name: 'stop',
  summary: 'shut a container down and unmount it',
  arguments: [CTID],
  options: [FAST, TIMEOUT, VZ_ROOT],
  examples: [
    ['vzctl stop 101', 'let its init shut down in order'],
    ['vzctl stop 101 --fast', 'kill it'],
  ],
  async run(ctx, args, options) {
    const stopped = await stopContainer(ctidOf(args), { ...rootsOf(options), ...stopOptions(options), signal: ctx.signal });
    noteStop(ctx, stopped);
    ctx.result(stopped, stopped.wasRunning ? `Container ${stopped.ctid} stopped` : `Container ${stopped.ctid} was not running`);
  },
};

export function stopOptions(options: Record<string, unknown>) {
  const seconds = options['timeout'] as number | undefined;
  return { fast: options['fast'] === true, timeoutMs: seconds === undefined ? undefined : seconds * 1000 };
}

function noteStop(ctx: Context, { timedOut }: StoppedContainer): void {
  if (timedOut) ctx.note('The container did not shut down in time and was killed.');
}

export const restartCommand: Command = {
  name: 'restart',
  summary: 'stop a container, if it runs, and start it',
  arguments: [CTID],
  options: [FAST, TIMEOUT, RUNTIME, VIA_OPTION, VZ_ROOT],
  examples: [['vzctl restart 101', 'shut down and start again']],
  async run(ctx, args, options) {
    const { stopped, started } = await restartContainer(ctidOf(args), {
      ...rootsOf(options),
      ...stopOptions(options),
      runtime: textOf(options, 'runtime'),
      ...viaOf(options),
      signal: ctx.signal,
    });
    noteStop(ctx, stopped);
    ctx.result({ stopped, started }, startedText(started));
  },
};

export const statusCommand: Command = {
  name: 'status',
  summary: 'show whether a container exists, is mounted and runs',
  description: 'Prints OpenVZ\'s line: "CTID 101 exist mounted running". Words: exist or deleted, mounted or unmounted, running or down.',
  arguments: [CTID],
  options: [VZ_ROOT],
  examples: [['vzctl status 101', 'CTID 101 exist mounted running']],
  async run(ctx, args, options) {
    const state = await containerState(ctidOf(args), rootsOf(options));
    const words = [state.exists ? 'exist' : 'deleted', state.mounted ? 'mounted' : 'unmounted', state.running ? 'running' : 'down'];
    if (state.runtimeStatus === 'paused') words.push('suspended');
    ctx.result(state, `CTID ${state.ctid} ${words.join(' ')}`);
  },
};
