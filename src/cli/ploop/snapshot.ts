// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot`: keep the present state; of a mounted image with its file system held still.
import { resolve } from 'node:path';

import { PloopError } from '../../errors.js';
import { consistentSnapshot } from '../../filesystem/image/snapshot.js';
import { checkText } from '../../native/arguments.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { collectOptions, IMAGE_ARGUMENT, text, word } from './image-argument.js';

export const snapshotCommand: Command = {
  name: 'snapshot',
  summary: 'keep the present state of an image',
  description:
    'Takes milliseconds and no space. Works on detached and on mounted images; a mounted file system is frozen meanwhile. Prints the id.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-n, --name <name>', summary: 'a name to find it by', parse: parseName },
    {
      flags: '-d, --description <text>',
      summary: 'what it is for',
      parse: parseDescription,
    },
    { flags: '-t, --temporary', summary: 'it goes when the process that ran this command has ended, or the host was started anew' },
    { flags: '--holder <pid>', summary: 'with --temporary: when this process has ended', parse: parsePid },
  ],
  examples: [
    ['ploop snapshot /vz/web --name before-upgrade', 'go back with: ploop snapshot-switch /vz/web before-upgrade'],
    [
      'ploop snapshot /vz/web --temporary --name for-backup',
      'in a script: gone after it, at the latest with the next command for the image',
    ],
  ],
  run: snapshot,
};

export function parseName(given: string): string {
  return checkText('--name', given, { maxBytes: 127, line: true });
}

export function parseDescription(given: string): string {
  return checkText('--description', given, { maxBytes: 255, empty: true, line: true });
}

function parsePid(given: string): number {
  if (/^[1-9]\d{0,8}$/.test(given)) return Number(given);
  throw new PloopError('INVALID_ARGUMENT', `--holder: '${given}' is not the id of a process`);
}

async function snapshot(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  if (options['holder'] !== undefined && options['temporary'] !== true) {
    throw new PloopError('INVALID_ARGUMENT', '--holder: only a temporary snapshot has a holder', { hint: 'Give --temporary as well.' });
  }
  const { times: _, ...taken } = await consistentSnapshot(dir, {
    name: text(options['name']),
    description: text(options['description']),
    ...(options['temporary'] === true ? { holder: (options['holder'] as number | undefined) ?? process.ppid } : {}),
    ...collectOptions(ctx),
  });
  ctx.result({ directory: resolve(dir), ...taken }, taken.id);
}
