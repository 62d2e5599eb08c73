// SPDX-License-Identifier: Apache-2.0
// Long work in the addon ends early when an AbortSignal says so.

import { PloopError } from '../errors.js';
import { binding, translated, type StopFlag } from './binding.js';

/** Hands the work a flag that is raised when the signal aborts; the work then ends with INTERRUPTED. */
export async function stoppable<T>(signal: AbortSignal | undefined, work: (stop: StopFlag | null) => Promise<T>): Promise<T> {
  if (signal === undefined) return translated(work(null));
  if (signal.aborted) throw new PloopError('INTERRUPTED', 'interrupted before anything was changed');
  const flag = binding().stopFlag();
  const raise = (): void => binding().stop(flag);
  signal.addEventListener('abort', raise, { once: true });
  try {
    return await translated(work(flag));
  } finally {
    signal.removeEventListener('abort', raise);
  }
}
