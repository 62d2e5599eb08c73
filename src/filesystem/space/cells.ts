// SPDX-License-Identifier: Apache-2.0
// An image in cells of equal size: how much of each is used, reclaimable, shared with layers below, or a hole.
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { BLOCKS_PER_PAGE, spacePages } from '../../attach/space.js';
import { readDescriptor } from '../../image/descriptor.js';
import { countBlocks, FreeMap } from './blocks.js';
import { freeSpace } from './free.js';
import { servingAttachment } from './measure.js';

/** Parts of the cell, from 0 to 1; what is left is a hole. */
export interface Cell {
  used: number;
  reclaimable: number;
  shared: number;
}

export interface CellMap {
  cells: Cell[];
  bytesPerCell: number;
  sizeBytes: number;
  /** Why nothing is told apart as reclaimable; null: it is. */
  unknown: string | null;
}

const BITS = 8;

/** At most `count` cells; fewer where the disk has not so many groups of eight blocks. */
export async function imageCells(
  dir: string,
  count: number,
  options: RunDirectoryOption & { signal?: AbortSignal | undefined } = {},
): Promise<CellMap> {
  const { size: sizeBytes, blockSize } = await readDescriptor(dir);
  const live = await servingAttachment(dir, options);
  const free = await freeSpace(dir, live, options);
  const map = free.extents === null ? null : new FreeMap(free.extents);
  const bytes = Math.ceil(sizeBytes / blockSize / BITS);
  const perCell = Math.max(1, Math.ceil(bytes / count));
  const cells = Array.from({ length: Math.ceil(bytes / perCell) }, (): Cell => ({ used: 0, reclaimable: 0, shared: 0 }));
  const pageBytes = BLOCKS_PER_PAGE / BITS;
  for await (const page of spacePages(dir, live, { signal: options.signal })) {
    const unused = map?.page(page) ?? null;
    const first = page.page * pageBytes;
    for (let at = 0; at < pageBytes;) {
      const index = Math.floor((first + at) / perCell);
      const end = Math.min(pageBytes, (index + 1) * perCell - first);
      const { top, topFree, below } = countBlocks(page, unused, at, end);
      const cell = cells[index];
      if (cell !== undefined) {
        cell.used += (top - topFree) / (perCell * BITS);
        cell.reclaimable += topFree / (perCell * BITS);
        cell.shared += below / (perCell * BITS);
      }
      at = end;
    }
  }
  return { cells, bytesPerCell: perCell * BITS * blockSize, sizeBytes, unknown: free.why };
}
