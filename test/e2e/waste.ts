// SPDX-License-Identifier: Apache-2.0
// What compaction is for: files that were written and are deleted again, and layers that only a branch sees.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { syncFileSystem } from '../../src/filesystem/sync.js';
import { ploopOk } from '../helpers/command.js';
import type { TestPlaces } from '../helpers/scratch-per-test.js';

/** Files f0, f1, … of so many bytes. All reach the disk; then those go that `stays` does not name, and that may not have reached it. */
export async function writeAndDelete(
  mountPoint: string,
  { files, bytes, stays }: { files: number; bytes: (at: number) => number; stays: (at: number) => boolean },
): Promise<void> {
  const numbers = Array.from({ length: files }, (_, at) => at);
  for (const at of numbers) await writeFile(join(mountPoint, `f${at}`), Buffer.alloc(bytes(at), at + 1));
  await syncFileSystem(mountPoint);
  for (const at of numbers) if (!stays(at)) await rm(join(mountPoint, `f${at}`));
}

/**
 * The mounted image gets a layer that two branches need and that no snapshot shows: below the snapshot "branch", which has what
 * `change` did, and below the disk, which is as before it. It is mounted again.
 */
export async function branchOff({ image, mountPoint }: TestPlaces, change: () => Promise<void>): Promise<void> {
  await ploopOk('snapshot', image, '--name', 'trunk');
  await change();
  await ploopOk('snapshot', image, '--name', 'branch');
  await ploopOk('umount', image);
  await ploopOk('snapshot-switch', image, 'trunk', '--discard');
  await ploopOk('snapshot-delete', image, 'trunk');
  await ploopOk('mount', image, mountPoint);
}
