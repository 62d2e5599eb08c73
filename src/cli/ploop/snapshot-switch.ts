// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-switch`: the disk goes back to a snapshot.
import { resolve } from 'node:path';

import { switchToSnapshot } from '../../attach/operations.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { DISCARD_STATE_OPTION, IMAGE_ARGUMENT, runDirOption, SNAPSHOT_ARGUMENT, switchedText, word } from './image-argument.js';

export const snapshotSwitchCommand: Command = {
  name: 'snapshot-switch',
  summary: 'go back to a snapshot',
  description:
    'The state before is kept as a snapshot, named after the time, unless a snapshot holds the same; all snapshots stay. ' +
    'The image must be detached.',
  arguments: [IMAGE_ARGUMENT, SNAPSHOT_ARGUMENT],
  options: [DISCARD_STATE_OPTION],
  examples: [['ploop snapshot-switch /vz/web before-upgrade', 'by name; an id or its first characters do as well']],
  run: switchTo,
};

async function switchTo(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const discard = options['discard'] === true;
  const done = await switchToSnapshot(dir, word(args, 'id'), { ...runDirOption(ctx), discard });
  const { id, name, ...rest } = done;
  ctx.result(
    { directory: resolve(dir), snapshot: { id, name }, ...rest },
    `${resolve(dir)} is at snapshot ${id}${name === null ? '' : ` (${name})`}${switchedText(done)}`,
  );
}
