// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-delete`: a snapshot goes away; what others need of it is merged into the layer above.
import { resolve } from 'node:path';

import { deleteSnapshot } from '../../attach/operations.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, SNAPSHOT_ARGUMENT, withProgress, word } from './image-argument.js';

export const snapshotDeleteCommand: Command = {
  name: 'snapshot-delete',
  aliases: ['snapshot-merge'],
  summary: 'delete a snapshot and merge its layer',
  description:
    'The present state and all other snapshots stay as they are. The image must be detached. ' +
    'Interrupting is safe: nothing is lost, and the same command goes on where it was.',
  arguments: [IMAGE_ARGUMENT, SNAPSHOT_ARGUMENT],
  examples: [['ploop snapshot-delete /vz/web 9f2c', 'by the first characters of its id']],
  run: remove,
};

async function remove(ctx: Context, args: ParsedArguments): Promise<void> {
  const dir = word(args, 'dir');
  const snapshot = await withProgress(ctx, 'merging', (onProgress) =>
    deleteSnapshot(dir, word(args, 'id'), { onProgress, signal: ctx.signal, ...runDirOption(ctx) }),
  );
  ctx.result(
    { directory: resolve(dir), snapshot },
    `snapshot ${snapshot.id}${snapshot.name === null ? '' : ` (${snapshot.name})`} deleted`,
  );
}
