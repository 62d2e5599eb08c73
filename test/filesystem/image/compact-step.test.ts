// SPDX-License-Identifier: Apache-2.0
// Steps of a compaction that ploopd makes end when the time is up, and stand back where it is busy.
import { describe, expect, it } from 'vitest';

import type { Attachment } from '../../../src/attach/attachments.js';
import { PloopError } from '../../../src/errors.js';
import { withinTime, type StepOutcome } from '../../../src/filesystem/image/compact-step.js';
import type { Work } from '../../../src/filesystem/image/compact.js';
import type { LongWork } from '../../../src/native/stoppable.js';

function work(endMs: number, given: { attached?: boolean; signal?: AbortSignal } = {}): Work {
  const attachment = given.attached === true ? ({} as Attachment) : null;
  return { dir: '/i', attachment, descriptor: {} as Work['descriptor'], endMs, options: { signal: given.signal } };
}

/** Goes on until it is told to stop. */
function untilStopped({ signal }: LongWork): Promise<StepOutcome> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new PloopError('INTERRUPTED', 'stopped'));
    if (signal?.aborted === true) stop();
    else signal?.addEventListener('abort', stop);
  });
}

describe('a step within the time', () => {
  it('is stopped when the time is up, which is no failure', async () => {
    expect(await withinTime(work(performance.now() + 20), untilStopped)).toEqual({ stopped: 'time' });
  });

  it('answers its figures when it is done before, and without a limit', async () => {
    expect(await withinTime(work(Infinity), async () => ({ clustersMoved: 3 }))).toEqual({ clustersMoved: 3 });
  });

  it('fails when it was interrupted by somebody else', async () => {
    const signal = AbortSignal.abort();
    await expect(withinTime(work(performance.now() + 60_000, { signal }), untilStopped)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it('is left out, with the reason, while ploopd is busy with the layers', async () => {
    const busy = (): Promise<StepOutcome> => Promise.reject(new PloopError('BUSY', 'layer 1 is being merged'));
    expect(await withinTime(work(Infinity, { attached: true }), busy)).toEqual({ skipped: 'layer 1 is being merged' });
    await expect(withinTime(work(Infinity), busy)).rejects.toMatchObject({ code: 'BUSY' });
  });
});
