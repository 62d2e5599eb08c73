// SPDX-License-Identifier: Apache-2.0
// `ploop set`: settings of an image, changed while it is in use.
import { resolve } from 'node:path';

import { changeSettings } from '../../attach/settings.js';
import { PloopError } from '../../errors.js';
import { DISCARD_POLICIES, type DiscardPolicy } from '../../native/index.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { LIMIT_OPTIONS, limitsOf, limitsText } from '../limits.js';
import { IMAGE_ARGUMENT, ON_FULL_OPTION, onFull, runDirOption, word } from './image-argument.js';

const { default: _none, ...onFullOption } = ON_FULL_OPTION;

export const setCommand: Command = {
  name: 'set',
  summary: 'change a setting of an image',
  description:
    '--on-full, --iops and --bps last until the image is detached. With `error`, requests that wait for room fail at once; a limit that ' +
    'is taken away lets go on what waits for it. --discard lasts for good: `block` gives ' +
    'every block that the file system discards back to the host (the default; best on flash), `cluster` only clusters of 64 blocks ' +
    'without any data left (keeps files whole on disks), `off` nothing. Blocks that are kept read as zeros and are used again.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    onFullOption,
    ...LIMIT_OPTIONS,
    { flags: '--discard <what>', summary: 'what discards give back to the host', choices: DISCARD_POLICIES },
  ],
  examples: [
    ['ploop set /vz/web --on-full error', 'lets writes fail that wait for room on the host'],
    ['ploop set /vz/web --iops 500 --bps 20M', 'slows the disk of an image in use down'],
    ['ploop set /vz/web --iops none --bps none', 'lets it go as fast as it can'],
    ['ploop set /vz/web --discard cluster', 'punches no small holes any more'],
  ],
  run: set,
};

async function set(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const discard = options['discard'] as DiscardPolicy | undefined;
  if (['onFull', 'discard', 'iops', 'bps'].every((name) => options[name] === undefined)) {
    throw new PloopError('INVALID_ARGUMENT', 'set: no setting was given', { hint: 'Give --on-full, --discard, --iops or --bps.' });
  }
  const done = await changeSettings(word(args, 'dir'), {
    ...runDirOption(ctx),
    ...(options['onFull'] === undefined ? {} : { onFull: onFull(options) }),
    discard,
    ...limitsOf(options),
    signal: ctx.signal,
  });
  const directory = resolve(done.directory);
  const limits = limitsText(done);
  const text = `${directory}: ${done.onFull === null ? '' : `on-full is ${done.onFull}, `}discard is ${done.discard}${limits === null ? '' : `, at most ${limits}`}`;
  ctx.result({ ...done, directory }, text);
}
