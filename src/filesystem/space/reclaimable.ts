// SPDX-License-Identifier: Apache-2.0
// What a trim would give back now: free space of the file system that the writable layer still holds host space for.
import type { Attachment } from '../../attach/attachments.js';
import { BLOCKS_PER_PAGE, spacePages, type SpacePage } from '../../attach/space.js';
import type { DiscardPolicy } from '../../native/index.js';
import { FreeMap } from './blocks.js';
import { addRange, type Extent } from './extent.js';
import { freeSpace } from './free.js';

const PAGE_BYTES = BLOCKS_PER_PAGE / 8;
const CLUSTER_BYTES = 8;

/** In order of place; empty where the free space is not known. With `cluster`, only clusters that would become empty. */
export async function reclaimable(
  dir: string,
  live: Attachment,
  { discard, signal }: { discard: DiscardPolicy; signal?: AbortSignal | undefined },
): Promise<Extent[]> {
  const { extents } = await freeSpace(dir, live, { signal });
  if (extents === null || discard === 'off') return [];
  const map = new FreeMap(extents);
  const found: [number, number][] = [];
  for await (const page of spacePages(dir, live, { signal }))
    addPage(found, page, { unused: map.page(page), whole: discard === 'cluster' });
  return found;
}

function addPage(
  found: [number, number][],
  { page, masks, blockSizeBytes }: SpacePage,
  { unused, whole }: { unused: Uint8Array; whole: boolean },
): void {
  for (let cluster = 0; cluster < PAGE_BYTES; cluster += CLUSTER_BYTES) {
    const held = masks.subarray(cluster, cluster + CLUSTER_BYTES);
    const free = unused.subarray(cluster, cluster + CLUSTER_BYTES);
    if (held.every((byte) => byte === 0)) continue;
    const blocks = held.map((byte, at) => byte & (free[at] ?? 0));
    if (whole && blocks.some((byte, at) => byte !== held[at])) continue;
    for (let bit = 0; bit < CLUSTER_BYTES * 8; bit++) {
      if (((blocks[bit >> 3] ?? 0) & (1 << (bit & 7))) === 0) continue;
      const start = (page * BLOCKS_PER_PAGE + cluster * 8 + bit) * blockSizeBytes;
      addRange(found, start, start + blockSizeBytes);
    }
  }
}
