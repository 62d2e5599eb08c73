// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-switch`: the disk goes back to a snapshot.
import { resolve } from 'node:path';

import { switchToSnapshot } from '../../attach/operations.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, SNAPSHOT_ARGUMENT, word } from './image-argument.js';

export const snapshotSwitchCommand: Command = {
  name: 'snapshot-switch',
  summary: 'go back to a snapshot',
  description: 'What was written since the last snapshot is lost; all snapshots stay. The image must be detached.',
  arguments: [IMAGE_ARGUMENT, SNAPSHOT_ARGUMENT],
  examples: [['ploop snapshot-switch /vz/web before-upgrade', 'by name; an id or its first characters do as well']],
  run: switchTo,
};

async function switchTo(ctx: Context, args: ParsedArguments): Promise<void> {
  const dir = word(args, 'dir');
  const snapshot = await switchToSnapshot(dir, word(args, 'id'), runDirOption(ctx));
  ctx.result(
    { directory: resolve(dir), snapshot },
    `${resolve(dir)} is at snapshot ${snapshot.id}${snapshot.name === null ? '' : ` (${snapshot.name})`}`,
  );
}
