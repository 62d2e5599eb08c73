// SPDX-License-Identifier: Apache-2.0
// A snapshot whose file system is as after a clean sync: a mounted one is frozen while it is taken, and thawed whatever happens.
import { reachableMounts } from '../../attach/mounts.js';
import { takeSnapshot, type TakenSnapshot, type TakeSnapshotOptions } from '../../attach/operations.js';
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
  const taken = await takeSnapshot(dir, {
    ...options,
    frozen: async (attachment, switchOver) => {
      // Every mount of a device shows the same file system: freezing one of them is enough.
      const [mount] = attachment.devno === null ? [] : await reachableMounts(attachment.devno);
      if (mount === undefined) return switchOver();
      ({ frozenMs } = await withFrozen(mount.mountPoint, switchOver, { signal: options.signal }));
    },
  });
  await collectTemporary(dir, { runDir: options.runDir, signal: options.signal, onNote });
  return { ...taken, frozenMs };
}
