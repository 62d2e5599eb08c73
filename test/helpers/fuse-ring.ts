// SPDX-License-Identifier: Apache-2.0
// The host's switch for fuse over io_uring. It counts only when a file system is mounted, so others are not disturbed.
import { readFile, writeFile } from 'node:fs/promises';

export const FUSE_RING_SWITCH = '/sys/module/fuse/parameters/enable_uring';

/** Returns what puts it back. */
export async function switchFuseRing(to: 'Y' | 'N'): Promise<() => Promise<void>> {
  const before = (await readFile(FUSE_RING_SWITCH, 'utf8')).trim();
  await writeFile(FUSE_RING_SWITCH, to);
  return () => writeFile(FUSE_RING_SWITCH, before);
}
