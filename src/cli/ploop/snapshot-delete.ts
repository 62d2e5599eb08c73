// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot-delete`: a snapshot goes away; what others need of it is merged into the layer above.
import { resolve } from 'node:path';

import { type DeletedSnapshot, deleteSnapshot } from '../../attach/jobs.js';
import { parseSize } from '../../units.js';
import type { Command, Context, Option, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, SNAPSHOT_ARGUMENT, withProgress, word } from './image-argument.js';

export const RATE_OPTION: Option = {
  flags: '--rate <bytes>',
  summary: 'move at most so much a second, in all merges of the image: 20M; none: no limit',
  parse: (given) => (given === 'none' ? 0 : parseSize(given, '--rate')),
};

export const snapshotDeleteCommand: Command = {
  name: 'snapshot-delete',
  aliases: ['snapshot-merge'],
  summary: 'delete a snapshot and merge its layer',
  description:
    'The present state and all other snapshots stay as they are. Works while the image is in use, and merges in the direction that ' +
    'moves fewer bytes. Interrupting is safe: nothing is lost, and the same command goes on where it was; so does attaching the image.',
  arguments: [IMAGE_ARGUMENT, SNAPSHOT_ARGUMENT],
  options: [{ flags: '-b, --background', summary: 'do not wait: an attached image merges by itself; see `ploop jobs`' }, RATE_OPTION],
  examples: [
    ['ploop snapshot-delete /vz/web 9f2c', 'by the first characters of its id'],
    ['ploop snapshot-delete /vz/web old --background --rate 20M', 'at 20 MiB a second at most, while the image is in use'],
  ],
  run: remove,
};

/** What a deletion says at its end. */
export function renderDeleted(snapshot: DeletedSnapshot, dir: string): string {
  const name = `snapshot ${snapshot.id}${snapshot.name === null ? '' : ` (${snapshot.name})`}`;
  if (snapshot.kept) return `${name} deleted; its layer stays, because others need it`;
  return snapshot.done ? `${name} deleted` : `${name} deleted; its layer is being merged in the background: see ploop jobs ${dir}`;
}

async function remove(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const snapshot = await withProgress(ctx, 'merging', (onProgress) =>
    deleteSnapshot(dir, word(args, 'id'), {
      background: options['background'] === true,
      rateBytes: options['rate'] as number | undefined,
      onProgress,
      signal: ctx.signal,
      ...runDirOption(ctx),
    }),
  );
  ctx.result({ directory: resolve(dir), snapshot }, renderDeleted(snapshot, dir));
}
