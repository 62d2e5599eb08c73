// SPDX-License-Identifier: Apache-2.0
// A snapshot whose file system is as after a clean sync: a mounted one is frozen while it is taken, and thawed whatever happens.
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment } from '../../attach/attachments.js';
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
  if (!taken.live) await tellOfDead(dir, given);
  await collectTemporary(dir, { runDir: options.runDir, signal: options.signal, onNote });
  return { ...taken, frozenMs };
}

/** A file system whose device nobody serves any more can't be frozen. */
async function tellOfDead(dir: string, { runDir, onNote }: ConsistentSnapshotOptions): Promise<void> {
  const attachment = await findAttachment(dir, { runDir });
  if (attachment === null || attachment.live || attachment.devno === null) return;
  if ((await reachableMounts(attachment.devno)).length === 0) return;
  onNote?.(
    `${dir}: its ploopd was killed under a mounted file system, which was not frozen: the snapshot holds what was flushed before. ` +
      `To go on: ploop umount ${dir}, then mount it again`,
  );
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
