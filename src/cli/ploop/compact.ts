// SPDX-License-Identifier: Apache-2.0
// `ploop compact`: space that the file system does not use goes back to the host.
import { resolve } from 'node:path';

import type { CompactStep } from '../../filesystem/image/compact-step.js';
import { compactImage, type CompactedImage } from '../../filesystem/image/compact.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { table } from '../table.js';
import { IMAGE_ARGUMENT, parsePercent, parseSeconds, runDirOption, word } from './image-argument.js';

export const compactCommand: Command = {
  name: 'compact',
  aliases: ['balloon'],
  summary: 'give unused space back to the host',
  description:
    'In three steps. trim: asks the file system which blocks it does not use (a detached image is mounted for that, out of sight) and gives ' +
    'them back, in small ranges with pauses. pack: moves the blocks of ext4 files together so that more clusters become empty; only ' +
    'with `--discard cluster`, where it pays. relocate: moves what is at the end of the file into free clusters and shortens it. Works while ' +
    'the image is in use, and can be interrupted at any time. What a snapshot holds stays.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--no-trim', summary: 'do not ask the file system' },
    { flags: '--pack', summary: 'move blocks of files also where it frees nothing by itself' },
    { flags: '--no-pack', summary: 'do not move blocks of files' },
    { flags: '--no-relocate', summary: 'leave the file as long as it is' },
    {
      flags: '--busy <percent>',
      summary: 'of the time that trimming may take (default: 50)',
      parse: (given) => parsePercent('--busy', given),
    },
    { flags: '--rate <size>', summary: 'of data a second that packing may move', parse: (given) => parseSize(given, '--rate') },
    { flags: '--time <seconds>', summary: 'stop in good order after that long', parse: (given) => parseSeconds('--time', given) },
  ],
  examples: [
    ['ploop compact /vz/web', 'mounted or not'],
    ['ploop compact /vz/web --time 60 --busy 20', 'for a minute, and gently'],
  ],
  run: compact,
};

async function compact(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const seconds = options['time'] as number | undefined;
  let bar = ctx.progress('preparing');
  const onStep = (step: string): void => {
    bar.end();
    bar = ctx.progress(step);
  };
  const done = await compactImage(dir, {
    trim: options['trim'] !== false,
    pack: options['pack'] as boolean | undefined,
    relocate: options['relocate'] !== false,
    busyPercent: options['busy'] as number | undefined,
    rateBytesPerSecond: options['rate'] as number | undefined,
    timeBudgetMs: seconds === undefined ? undefined : seconds * 1000,
    onStep,
    onProgress: (part, whole) => bar.update(part, whole),
    signal: ctx.signal,
    ...runDirOption(ctx),
  }).finally(() => bar.end());
  const freedBytes = done.hostBytesBefore - done.hostBytesAfter;
  ctx.result({ directory: resolve(dir), freedBytes, ...done }, render(dir, done));
}

function render(dir: string, done: CompactedImage): string {
  const change = (before: number, after: number): string => `${formatSize(before)} → ${formatSize(after)}`;
  const rows = done.steps.map((one) => [
    one.step,
    one.skipped === null ? change(one.hostBytesBefore ?? 0, one.hostBytesAfter ?? 0) : '-',
    stepText(one),
  ]);
  const host = change(done.hostBytesBefore, done.hostBytesAfter);
  const head = `${dir}: the host spends ${host}; file length ${change(done.lengthBytesBefore, done.lengthBytesAfter)}`;
  return `${head}\n${table([{ title: 'STEP' }, { title: 'HOST' }, { title: 'WHAT' }], rows)}`;
}

function stepText(one: CompactStep): string {
  if (one.skipped !== null) return one.skipped;
  const time = `${(one.ms / 1000).toFixed(1)} s${one.stopped === 'time' ? ', stopped: the time was used up' : ''}`;
  if (one.step === 'trim') return `the file system named ${formatSize(one.trimmedBytes ?? 0)} as free, ${time}`;
  if (one.step === 'pack') return `${formatSize(one.movedBytes ?? 0)} moved to empty ${formatSize(one.expectedBytes ?? 0)}, ${time}`;
  return `${one.clustersFreed ?? 0} clusters freed, ${one.clustersMoved ?? 0} moved, ${time}`;
}
