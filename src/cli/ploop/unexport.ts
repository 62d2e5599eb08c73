// SPDX-License-Identifier: Apache-2.0
// `ploop unexport`: the opposite of export.
import { unexportImage } from '../../attach/exports.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, text, word } from './image-argument.js';

export const unexportCommand: Command = {
  name: 'unexport',
  summary: 'end NBD exports of an image',
  description:
    'Ends all exports of the image and its snapshots, or those that the options name. Refuses while clients are connected. ' +
    'A daemon that was started for an export ends with the last one.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--snapshot <id>', summary: 'only exports of this snapshot' },
    { flags: '--name <name>', summary: 'only the export of this name' },
    { flags: '-f, --force', summary: 'also while clients are connected: what they have asked for is answered, then they are cut off' },
  ],
  examples: [['ploop unexport /vz/web', 'the opposite of export']],
  run: unexport,
};

async function unexport(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const ended = await unexportImage(word(args, 'dir'), {
    snapshot: text(options['snapshot']),
    name: text(options['name']),
    force: options['force'] === true,
    ...runDirOption(ctx),
  });
  ctx.result({ exports: ended }, ended.map((one) => `${one.name}: no longer exported`).join('\n'));
}
