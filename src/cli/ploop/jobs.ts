// SPDX-License-Identifier: Apache-2.0
// `ploop jobs`: what an image does in the background.
import { resolve } from 'node:path';

import { cancelJob, type Job, listJobs, waitJob } from '../../attach/jobs.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { table } from '../table.js';
import { IMAGE_ARGUMENT, runDirOption, text, withProgress, word } from './image-argument.js';

export const jobsCommand: Command = {
  name: 'jobs',
  summary: 'list, await and stop merges in the background',
  description:
    'The layers of deleted snapshots, and how far their merging is. Jobs survive a crash: they go on when the image is attached again. ' +
    'A stopped one goes on then, too, or with the same `ploop snapshot-delete`.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--wait <id>', summary: 'wait until this job has ended: id, unique beginning of one, or name' },
    { flags: '--cancel <id>', summary: 'stop this job' },
  ],
  examples: [['ploop jobs /vz/web --wait 9f2c', 'with a progress bar; the id is that of the deleted snapshot']],
  run: jobs,
};

async function jobs(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const where = { signal: ctx.signal, ...runDirOption(ctx) };
  const [wait, cancel] = [text(options['wait']), text(options['cancel'])];
  if (cancel !== undefined) await cancelJob(dir, cancel, runDirOption(ctx));
  if (wait !== undefined) await withProgress(ctx, 'merging', (onProgress) => waitJob(dir, wait, { ...where, onProgress }));
  const list = await listJobs(dir, where);
  ctx.result({ directory: resolve(dir), jobs: list }, render(list));
}

function render(list: readonly Job[]): string {
  if (list.length === 0) return 'no jobs';
  const why = list.some((one) => one.error !== null);
  const titles = ['ID', 'KIND', 'STATE', 'DONE', 'NAME', ...(why ? ['WHY'] : [])];
  const rows = list.map((one) => [
    one.id,
    one.kind,
    one.state,
    one.total === 0 ? '-' : `${formatSize(one.done)} of ${formatSize(one.total)}`,
    one.name ?? '-',
    ...(why ? [one.error ?? '-'] : []),
  ]);
  return table(
    titles.map((title) => ({ title })),
    rows,
  );
}
