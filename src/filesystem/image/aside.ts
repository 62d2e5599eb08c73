// SPDX-License-Identifier: Apache-2.0
// Changing a disk as a whole, or not at all: the work is done on a clone inside the image's directory, whose writes take the
// place of the image's own at its end (one replacement of the descriptor). Killed or without power before that, the image is
// what it was; what is left of the clone goes with the next command that mounts, compacts or resizes, or with `check --repair`.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { whileDetached } from '../../attach/operations.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { native } from '../../native/index.js';
import { ASIDE, ASIDE_SNAPSHOT, asideSnapshots, clearAside, withAttached, withClaim } from './temporary.js';

export interface AsideOptions extends RunDirectoryOption {
  /** For messages: "shrinking". */
  doing: string;
  /** Of merging what was written, at the end. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Runs work on a device that shows the detached image's disk; what it writes counts when it has succeeded. */
export async function workAside<T>(dir: string, work: (device: string) => Promise<T>, options: AsideOptions): Promise<T> {
  const { runDir, doing, signal, onProgress } = options;
  const merging = { ...(signal === undefined ? {} : { signal }), ...(onProgress === undefined ? {} : { onProgress }) };
  return withClaim(
    dir,
    async () => {
      await clear(dir, options);
      const clone = join(dir, ASIDE);
      const snapshot = await whileDetached(dir, () => native.snapshot(dir, ASIDE_SNAPSHOT), {
        runDir,
        doing,
      });
      const done = await (async () => {
        await mkdir(clone, { mode: 0o700 });
        await native.clone(dir, snapshot, clone);
        const result = await withAttached(clone, ({ device }) => work(device), { runDir, signal });
        await whileDetached(dir, () => native.adoptTop(dir, clone), { runDir, doing });
        return result;
      })().catch(async (error: unknown) => {
        await clear(dir, options).catch(() => undefined);
        throw error;
      });
      await rm(clone, { recursive: true, force: true });
      await whileDetached(dir, () => native.deleteSnapshot(dir, snapshot, merging), { runDir, doing });
      return done;
    },
    { runDir },
  );
}

/** Takes away what a killed command left of such work. */
async function clear(dir: string, options: AsideOptions): Promise<void> {
  const { runDir, doing } = options;
  await clearAside(dir, { runDir });
  for (const { id } of await asideSnapshots(dir)) await whileDetached(dir, () => native.deleteSnapshot(dir, id), { runDir, doing });
}
