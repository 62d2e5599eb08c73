// SPDX-License-Identifier: Apache-2.0
// Which blocks of an image cost host space, page by page: those the top has data for, and those seen of the layers below.
import type { Attachment } from './attachments.js';
import { native, type NativeSpacePage } from '../native/index.js';
import { control } from './control.js';

export interface SpaceLayout {
  blockSizeBytes: number;
  sizeBytes: number;
}

export interface SpacePage extends NativeSpacePage, SpaceLayout {}

/** Pages that are read at a time from a detached image: 16 GiB of disk at 4 KiB blocks. */
const PAGES_AT_A_TIME = 256;

/** live: the attachment of the top that serves it; null reads the files, without the lock where somebody else has it. */
export async function* spacePages(
  dir: string,
  live: Attachment | null,
  options: { signal?: AbortSignal | undefined; lock?: boolean } = {},
): AsyncGenerator<SpacePage> {
  yield* live === null ? ofFiles(dir, options) : ofDaemon(live, options.signal);
}

async function* ofDaemon(live: Attachment, signal: AbortSignal | undefined): AsyncGenerator<SpacePage> {
  let first: number | null = 0;
  while (first !== null) {
    const part: { blockSize: number; size: number; pages: { page: number; masks: string }[]; next: number | null } = await control(
      live,
      'space',
      { first },
      { signal },
    );
    for (const { page, masks } of part.pages) {
      yield { page, masks: Buffer.from(masks, 'base64'), blockSizeBytes: part.blockSize, sizeBytes: part.size };
    }
    first = part.next;
  }
}

async function* ofFiles(dir: string, options: { signal?: AbortSignal | undefined; lock?: boolean }): AsyncGenerator<SpacePage> {
  const lock = options.lock ?? true;
  for (let first = 0, end = 1; first < end; first += PAGES_AT_A_TIME) {
    options.signal?.throwIfAborted();
    const { blockSize, size, pages } = await native.space(dir, { first, count: PAGES_AT_A_TIME, lock });
    end = Math.ceil(size / (blockSize * BLOCKS_PER_PAGE));
    for (const one of pages) yield { ...one, blockSizeBytes: blockSize, sizeBytes: size };
  }
}

/** 256 clusters of 64 blocks. */
export const BLOCKS_PER_PAGE = 256 * 64;
