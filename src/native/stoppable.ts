// SPDX-License-Identifier: Apache-2.0
// Long work in the addon: reports how far it is, and ends early when an AbortSignal, or a report that throws, says so.

import { PloopError } from '../errors.js';
import { checkFunction, checkOptions, checkSignal } from './arguments.js';
import { binding, translated, type StopFlag } from './binding.js';

export interface LongWork {
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

type Report = ((done: number, total: number) => void) | null;

/** The work gets a flag that is raised when it is to stop; it then ends with INTERRUPTED. */
export async function stoppable<T>(options: LongWork, work: (report: Report, stop: StopFlag) => Promise<T>): Promise<T> {
  const { onProgress, signal } = options;
  if (signal?.aborted === true) throw new PloopError('INTERRUPTED', 'interrupted before anything was changed');
  const flag = binding().stopFlag();
  const raise = (): void => binding().stop(flag);
  const thrown: unknown[] = [];
  const report = (done: number, total: number): void => {
    try {
      if (thrown.length === 0) onProgress?.(done, total);
    } catch (error) {
      thrown.push(error);
      raise();
    }
  };
  signal?.addEventListener('abort', raise, { once: true });
  try {
    return await translated(work(onProgress === undefined ? null : report, flag));
  } catch (error) {
    throw thrown.length > 0 ? thrown[0] : error;
  } finally {
    signal?.removeEventListener('abort', raise);
  }
}

export function checkLongWork(where: string, options: LongWork): void {
  checkOptions(where, options, ['onProgress', 'signal']);
  if (options.onProgress !== undefined) checkFunction(`${where}: onProgress`, options.onProgress);
  if (options.signal !== undefined) checkSignal(`${where}: signal`, options.signal);
}
