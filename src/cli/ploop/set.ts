// SPDX-License-Identifier: Apache-2.0
// `ploop set`: settings of an attached image, changed while it is in use.
import { findAttachment } from '../../attach/attachments.js';
import { control } from '../../attach/control.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, ON_FULL_OPTION, onFull, runDirOption, word } from './image-argument.js';

const { default: _none, ...onFullOption } = ON_FULL_OPTION;

export const setCommand: Command = {
  name: 'set',
  summary: 'change a setting of an attached image',
  description: 'The setting lasts until the image is detached. With `--on-full error`, requests that wait for room fail at once.',
  arguments: [IMAGE_ARGUMENT],
  options: [{ ...onFullOption, required: true }],
  examples: [['ploop set /vz/web --on-full error', 'lets writes fail that wait for room on the host']],
  run: set,
};

async function set(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const attachment = await findAttachment(dir, runDirOption(ctx));
  if (attachment === null) {
    await readDescriptor(dir);
    throw new PloopError('NOT_ATTACHED', `${dir} is not attached`, { hint: 'Settings belong to attached images: see ploop attach.' });
  }
  const done = await control(attachment, 'set', { onFull: onFull(options) }, { signal: ctx.signal });
  ctx.result({ directory: attachment.directory, onFull: done.onFull }, `${attachment.directory}: on-full is ${done.onFull}`);
}
