// SPDX-License-Identifier: Apache-2.0
// What layers below the writable one show of the disk.
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { BLOCKS_PER_PAGE, spacePages } from '../../attach/space.js';
import { addRange, type Extent } from './extent.js';
import { servingAttachment } from './measure.js';

const MASK_BYTES = BLOCKS_PER_PAGE / 8;

/** In order of place. */
export async function belowRanges(
  dir: string,
  { runDir, signal }: RunDirectoryOption & { signal?: AbortSignal | undefined } = {},
): Promise<Extent[]> {
  const live = await servingAttachment(dir, { runDir });
  const ranges: [number, number][] = [];
  for await (const { page, masks, blockSizeBytes } of spacePages(dir, live, { signal })) {
    for (let at = 0; at < MASK_BYTES; at++) {
      const byte = masks[MASK_BYTES + at] ?? 0;
      if (byte === 0) continue;
      const first = (page * BLOCKS_PER_PAGE + at * 8) * blockSizeBytes;
      if (byte === 0xff) addRange(ranges, first, first + 8 * blockSizeBytes);
      else addBits(ranges, byte, { first, blockSizeBytes });
    }
  }
  return ranges;
}

function addBits(ranges: [number, number][], byte: number, { first, blockSizeBytes }: { first: number; blockSizeBytes: number }): void {
  for (let bit = 0; bit < 8; bit++) {
    if ((byte & (1 << bit)) === 0) continue;
    const from = first + bit * blockSizeBytes;
    addRange(ranges, from, from + blockSizeBytes);
  }
}
