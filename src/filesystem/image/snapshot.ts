// SPDX-License-Identifier: Apache-2.0
// A snapshot whose file system is as after a clean sync: a mounted one is frozen while it is taken, and thawed whatever happens.
import { setTimeout as sleep } from 'node:timers/promises';

import { reachableMounts } from '../../attach/mounts.js';
import { takeSnapshot, type TakenSnapshot, type TakeSnapshotOptions } from '../../attach/operations.js';
import { PloopError } from '../../errors.js';
import { withFrozen } from '../freeze.js';
import { type CollectNote, collectTemporary } from './collect.js';

export interface ConsistentSnapshot extends TakenSnapshot {
  /** How long the file system was frozen; null when it was not mounted. */
  frozenMs: number | null;
}

export interface ConsistentSnapshotOptions extends Omit<TakeSnapshotOptions, 'frozen'>, CollectNote {}

/** Also deletes temporary snapshots of the image that nobody holds any more. */
export async function consistentSnapshot(dir: string, given: ConsistentSnapshotOptions = {}): Promise<ConsistentSnapshot> {
  const { onNote, ...options } = given;
  let frozenMs: number | null = null;
  const take = (): Promise<TakenSnapshot> =>
    takeSnapshot(dir, {
      ...options,
      frozen: async (attachment, switchOver) => {
        // Every mount of a device shows the same file system: freezing one of them is enough.
        const [mount] = attachment.devno === null ? [] : await reachableMounts(attachment.devno);
        if (mount === undefined) return switchOver();
        ({ frozenMs } = await withFrozen(mount.mountPoint, switchOver, { signal: options.signal }));
      },
    });
  const taken = await inTurn(take, options.signal);
  await collectTemporary(dir, { runDir: options.runDir, signal: options.signal, onNote });
  return { ...taken, frozenMs };
}

/** What another command does for a moment is waited for, such as its own snapshot; a compaction, say, is not. */
const SHORT = new Set<unknown>(['snapshot', 'freeze', 'set', 'delete']);
const TURN_MS = 10_000;
const LOOK_MS = 50;

async function inTurn<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const endMs = performance.now() + TURN_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!passes(error) || performance.now() > endMs || signal?.aborted === true) throw error;
      await sleep(LOOK_MS);
    }
  }
}

function passes(error: unknown): boolean {
  if (!(error instanceof PloopError) || error.code !== 'BUSY') return false;
  // Somebody looks at the layer that is to be sealed.
  return SHORT.has(error.details?.['underWay']) || error.message.includes('is being read by somebody else');
}
