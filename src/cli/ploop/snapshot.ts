// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot`: keep the present state; of a mounted image with its file system held still.
import { resolve } from 'node:path';

import { consistentSnapshot } from '../../filesystem/image/snapshot.js';
import { checkText } from '../../native/arguments.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, text, word } from './image-argument.js';

export const snapshotCommand: Command = {
  name: 'snapshot',
  summary: 'keep the present state of an image',
  description:
    'Takes milliseconds and no space. Works on detached and on mounted images; a mounted file system is frozen meanwhile. Prints the id.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-n, --name <name>', summary: 'a name to find it by', parse: (given) => checkText('--name', given, { maxBytes: 127 }) },
    {
      flags: '-d, --description <text>',
      summary: 'what it is for',
      parse: (given) => checkText('--description', given, { maxBytes: 255, empty: true }),
    },
  ],
  examples: [['ploop snapshot /vz/web --name before-upgrade', 'go back with: ploop snapshot-switch /vz/web before-upgrade']],
  run: snapshot,
};

async function snapshot(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const { times: _, ...taken } = await consistentSnapshot(dir, {
    name: text(options['name']),
    description: text(options['description']),
    signal: ctx.signal,
    ...runDirOption(ctx),
  });
  ctx.result({ directory: resolve(dir), ...taken }, taken.id);
}
