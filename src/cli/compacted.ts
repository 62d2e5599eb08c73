// SPDX-License-Identifier: Apache-2.0
// What `ploop compact` and `vzctl compact` say: how far they are, and what each step did.
import type { CompactStep } from '../filesystem/image/compact-step.js';
import type { CompactedImage, CompactImageOptions } from '../filesystem/image/compact.js';
import { formatSize } from '../units.js';
import type { Context } from './command.js';
import { table } from './table.js';

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
  return `${one.clustersFreed ?? 0} clusters freed, ${one.clustersMoved ?? 0} moved, ${time}`;
}

function belowText({ layers = 0, inUse = 0, punchedBytes = 0 }: CompactStep): string {
  const users = inUse > 0 ? `, ${inUse} left alone: in use by others` : '';
  return `${formatSize(punchedBytes)} that nobody sees given back, of ${layers} layer${layers === 1 ? '' : 's'}${users}`;
}
