// SPDX-License-Identifier: Apache-2.0
// vzctl exec and enter: a command or a shell inside a running container. Their exit status is the command's.
import { enterContainer, execInContainer } from '../../container/exec.js';
import type { Command } from '../command.js';
import { CTID, ctidOf, rootsOf, VZ_ROOT } from './options.js';

export const execCommand: Command = {
  name: 'exec',
  aliases: ['exec2'],
  summary: 'run a command in a running container',
  description:
    'Hands on input, output and exit status; the command gets a terminal when there is one. Options of vzctl come before CTID. ' +
    'A single word that needs a shell, as in vzctl exec 101 "ls | wc -l", is given to /bin/sh in the container.',
  arguments: [CTID, { name: 'COMMAND', summary: 'the command and its arguments', required: true, variadic: true }],
  options: [VZ_ROOT],
  passThrough: true,
  examples: [
    ['vzctl exec 101 cat /etc/os-release', 'show a file of the container'],
    ['vzctl exec 101 "dpkg -l | wc -l"', 'a shell line'],
  ],
  async run(_ctx, args, options) {
    const { exitCode } = await execInContainer(ctidOf(args), args['COMMAND'] as string[], rootsOf(options));
    return exitCode;
  },
};

export const enterCommand: Command = {
  name: 'enter',
  summary: 'open a shell in a running container',
  arguments: [CTID],
  options: [VZ_ROOT],
  examples: [['vzctl enter 101', 'a root shell; leave it with exit']],
  async run(_ctx, args, options) {
    const { exitCode } = await enterContainer(ctidOf(args), rootsOf(options));
    return exitCode;
  },
};
