// SPDX-License-Identifier: Apache-2.0
// What `ploop compact` and `vzctl compact` have in common: options, how far they are, and what each step did.
import type { CompactStep } from '../filesystem/image/compact-step.js';
import type { CompactedImage, CompactImageOptions } from '../filesystem/image/compact.js';
import { formatSize, parseSize } from '../units.js';
import type { Context, Option, ParsedOptions } from './command.js';
import { parsePercent, parseSeconds } from './ploop/image-argument.js';
import { table } from './table.js';

export const COMPACT_OPTIONS: Option[] = [
  { flags: '--no-trim', summary: 'do not ask the file system' },
  { flags: '--pack', summary: 'move blocks of files also where it frees nothing by itself' },
  { flags: '--no-pack', summary: 'do not move blocks of files' },
  { flags: '--no-below', summary: 'leave the layers below as they are' },
  { flags: '--no-relocate', summary: 'leave the file as long as it is' },
  {
    flags: '--busy <percent>',
    summary: 'of the time that trimming may take, a fifth of it (and packing) while others use the disk (default: 50)',
    parse: (given) => parsePercent('--busy', given),
  },
  { flags: '--rate <size>', summary: 'of data a second that packing may move', parse: (given) => parseSize(given, '--rate') },
  { flags: '--time <seconds>', summary: 'stop in good order after that long', parse: (given) => parseSeconds('--time', given) },
];

export function compactOptionsOf(options: ParsedOptions): CompactImageOptions {
  const seconds = options['time'] as number | undefined;
  return {
    trim: options['trim'] !== false,
    pack: options['pack'] as boolean | undefined,
    below: options['below'] !== false,
    relocate: options['relocate'] !== false,
    busyPercent: options['busy'] as number | undefined,
    rateBytesPerSecond: options['rate'] as number | undefined,
    timeBudgetMs: seconds === undefined ? undefined : seconds * 1000,
  };
}

export interface StepProgress {
  callbacks: Required<Pick<CompactImageOptions, 'onStep' | 'onProgress'>>;
  end(): void;
}

/** A bar for each step. */
export function stepProgress(ctx: Context): StepProgress {
  let bar = ctx.progress('preparing');
  return {
    callbacks: {
      onStep: (step) => {
        bar.end();
        bar = ctx.progress(step);
      },
      onProgress: (part, whole) => bar.update(part, whole),
    },
    end: () => bar.end(),
  };
}

export function compactedText(what: string, done: CompactedImage): string {
  const change = (before: number, after: number): string => `${formatSize(before)} → ${formatSize(after)}`;
  const rows = done.steps.map((one) => [
    one.step,
    one.skipped === null ? change(one.hostBytesBefore ?? 0, one.hostBytesAfter ?? 0) : '-',
    stepText(one),
  ]);
  const host = change(done.hostBytesBefore, done.hostBytesAfter);
  const head = `${what}: the host spends ${host}; file length ${change(done.lengthBytesBefore, done.lengthBytesAfter)}`;
  return `${head}\n${table([{ title: 'STEP' }, { title: 'HOST' }, { title: 'WHAT' }], rows)}`;
}

function stepText(one: CompactStep): string {
  if (one.skipped !== null) return one.skipped;
  const time = `${(one.ms / 1000).toFixed(1)} s${one.stopped === 'time' ? ', stopped: the time was used up' : ''}`;
  if (one.step === 'trim') return `the file system named ${formatSize(one.trimmedBytes ?? 0)} as free, ${time}`;
  if (one.step === 'pack') return `${formatSize(one.movedBytes ?? 0)} moved to empty ${formatSize(one.expectedBytes ?? 0)}, ${time}`;
  if (one.step === 'below') return `${belowText(one)}, ${time}`;
  if (one.clustersFreed === undefined) return time;
  return `${one.clustersFreed} clusters freed, ${one.clustersMoved ?? 0} moved, ${time}`;
}

function belowText({ layers = 0, inUse = 0, punchedBytes = 0 }: CompactStep): string {
  const users = inUse > 0 ? `, ${inUse} left alone: in use by others` : '';
  return `${formatSize(punchedBytes)} that nobody sees given back, of ${layers} layer${layers === 1 ? '' : 's'}${users}`;
}
