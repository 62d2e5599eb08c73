// SPDX-License-Identifier: Apache-2.0
// What an image costs, what its file system uses, and what each step of compaction could give back. docs/guides/space.md.
import { join } from 'node:path';

import { findAttachment, type Attachment } from '../../attach/attachments.js';
import { describeImage, type ImageDescription, type LayerDescription } from '../../attach/describe.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { spacePages } from '../../attach/space.js';
import { PloopError } from '../../errors.js';
import { run } from '../../exec/run.js';
import { imageFileSystem, type ImageFileSystem } from '../image/usage.js';
import { addCounts, countBlocks, FreeMap, NO_BLOCKS, type BlockCounts } from './blocks.js';
import { heldBySnapshots, trimAndPack } from './estimate.js';
import { freeSpace, type FreeSpace } from './free.js';

export interface MeasureOptions extends RunDirectoryOption {
  signal?: AbortSignal | undefined;
}

export interface SpaceEstimate {
  /** What the host spends on all layers. */
  hostBytes: number;
  /** What the file system uses; null: none that can be looked at. */
  usedBytes: number | null;
  /** Host bytes beyond that: free blocks that still cost space, metadata, and what snapshots hold. */
  smearBytes: number | null;
  /** Data of the writable layer, and what is seen of the layers below it. */
  topBytes: number;
  sharedBytes: number;
  /** What trimming would free: blocks of the writable layer that the file system does not use. null: not known. */
  trimBytes: number | null;
  /** What moving the rest together would free beyond that, at best; 0 where packing is impossible. */
  packBytes: number | null;
  /** Data in layers of snapshots that the file system does not use any more: deleting them gives back at most that. */
  heldBytes: number | null;
  /** Why something is not known. */
  unknown: string | null;
}

export interface MeasuredLayer extends LayerDescription {
  /** Pieces of the layer's file on the host; null where the host does not say. */
  hostExtents: number | null;
}

export interface ImageSpace {
  image: ImageDescription;
  layers: MeasuredLayer[];
  fileSystem: ImageFileSystem | null;
  space: SpaceEstimate;
}

export async function measureSpace(dir: string, options: MeasureOptions = {}): Promise<ImageSpace> {
  const image = await describeImage(dir, options);
  const fileSystem = await imageFileSystem(dir, options);
  const layers = await Promise.all(image.layers.map((layer) => withExtents(dir, layer)));
  const usedBytes = fileSystem?.usage.usedBytes ?? null;
  const counted = await countImage(dir, options);
  const { counts, blockSizeBytes, unknown } = counted;
  return {
    image,
    layers,
    fileSystem,
    space: {
      hostBytes: image.hostBytes,
      usedBytes,
      smearBytes: usedBytes === null ? null : Math.max(0, image.hostBytes - usedBytes),
      topBytes: (counts?.top ?? 0) * blockSizeBytes,
      sharedBytes: (counts?.below ?? 0) * blockSizeBytes,
      ...estimates(image, { ...counted, canPack: fileSystem?.type === 'ext4' }),
      unknown,
    },
  };
}

type Estimates = Pick<SpaceEstimate, 'trimBytes' | 'packBytes' | 'heldBytes'>;

function estimates(image: ImageDescription, { counts, unknown, canPack, ...counted }: Counted & { canPack: boolean }): Estimates {
  if (unknown !== null || counts === null) return { trimBytes: null, packBytes: null, heldBytes: null };
  const dataOf = (wanted: (layer: LayerDescription) => boolean): number =>
    image.layers.reduce((sum, layer) => sum + (wanted(layer) ? layer.dataBytes : 0), 0);
  const seenUsedBytes = (counts.below - counts.belowFree) * counted.blockSizeBytes;
  const topHostBytes = image.layers.find(({ top }) => top)?.hostBytes ?? 0;
  return {
    ...trimAndPack({ ...counted, counts, discard: image.discard, topHostBytes, canPack }),
    heldBytes: heldBySnapshots(
      dataOf(({ snapshot }) => snapshot !== null),
      dataOf(({ top, snapshot }) => !top && snapshot === null),
      seenUsedBytes,
    ),
  };
}

/** The attachment that serves the top, when it can be asked. */
export async function servingAttachment(dir: string, options: RunDirectoryOption = {}): Promise<Attachment | null> {
  const found = await findAttachment(dir, options);
  return found !== null && found.live && (found.state === 'running' || found.state === 'orphan') ? found : null;
}

interface Counted {
  counts: BlockCounts | null;
  partlyFreeBytes: number;
  blockSizeBytes: number;
  unknown: string | null;
}

async function countImage(dir: string, options: MeasureOptions): Promise<Counted> {
  const live = await servingAttachment(dir, options);
  try {
    const free = await freeSpace(dir, live, options);
    return await countPages(dir, live, { free, ...options });
  } catch (error) {
    // Somebody else holds the image, or its daemon does not answer: the rest is worth telling all the same.
    if (!(error instanceof PloopError) || error.code === 'INTERRUPTED') throw error;
    return { counts: null, partlyFreeBytes: 0, blockSizeBytes: 0, unknown: error.message };
  }
}

async function countPages(dir: string, live: Attachment | null, options: MeasureOptions & { free: FreeSpace }): Promise<Counted> {
  const { free, signal } = options;
  const map = free.extents === null ? null : new FreeMap(free.extents);
  let counts = NO_BLOCKS;
  let partlyFreeBytes = 0;
  let blockSizeBytes = 0;
  for await (const page of spacePages(dir, live, { signal })) {
    blockSizeBytes = page.blockSizeBytes;
    counts = addCounts(counts, countBlocks(page, map?.page(page) ?? null));
    partlyFreeBytes += map?.partlyFree(page) ?? 0;
  }
  return { counts, partlyFreeBytes, blockSizeBytes, unknown: free.why };
}

/** filefrag(8) asks the host's file system (FIEMAP); not all of them can say. */
async function withExtents(dir: string, layer: LayerDescription): Promise<MeasuredLayer> {
  const file = join(dir, 'layers', `${layer.id}.plp`);
  const done = await run('filefrag', [file], { accept: 'any' }).catch(() => null);
  const match = /: (\d+) extents? found/.exec(done?.stdout ?? '');
  return { ...layer, hostExtents: match === null ? null : Number(match[1]) };
}
