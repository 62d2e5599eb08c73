// SPDX-License-Identifier: Apache-2.0
// Shrinking a detached image: first its file system, on the side (aside.ts), then the disk, which is cut only behind a file
// system that fits. So an interruption anywhere loses nothing, and the same command does what is missing.
import { resolve } from 'node:path';

import { attachedError, mapExtents, whileDetached } from '../../attach/operations.js';
import { type Attachment, findAttachment } from '../../attach/attachments.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { native } from '../../native/index.js';
import { formatSize } from '../../units.js';
import { shrinkExt4, type ShrinkStep } from '../shrink.js';
import type { Superblock } from '../superblock.js';
import { readSuperblock } from '../usage.js';
import { writableMount } from './limit.js';
import { workAside } from './aside.js';
import { withAttached } from './temporary.js';

export interface ShrinkImageOptions extends RunDirectoryOption {
  /** A multiple of the block size. */
  sizeBytes: number;
  /** An image without a file system that ploop knows: lose what is beyond the new end. */
  cut?: boolean | undefined;
  onStep?: ((step: ShrinkStep) => void) | undefined;
  /** Of merging what resize2fs wrote. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Answers the file system that was made to fit; null: there was none. */
export async function shrinkImage(dir: string, options: ShrinkImageOptions): Promise<'ext4' | null> {
  const { sizeBytes, runDir, onStep, signal } = options;
  const attachment = await findAttachment(dir, options);
  if (attachment !== null) throw await inUse(dir, attachment, sizeBytes);
  const content = await withAttached(dir, ({ device }) => readSuperblock(device), { runDir, signal, readOnly: true });
  if (content?.type === 'xfs') throw xfsError(dir, content, sizeBytes);
  if (content === undefined && options.cut !== true) await checkEmptyTail(dir, options);
  // Also when it seems to fit: the journal may hold another size.
  if (content !== undefined) await shrinkContent(dir, options);
  if (signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before ${dir} was shrunk`);
  onStep?.('disk');
  await whileDetached(dir, () => native.resize(dir, sizeBytes, { shrink: true }), { runDir, doing: 'shrinking' });
  return content === undefined ? null : 'ext4';
}

async function inUse(dir: string, attachment: Attachment, sizeBytes: number): Promise<PloopError> {
  const error = await attachedError(dir, attachment, 'shrinking');
  const { message, hint, details } = error;
  if ((await writableMount(attachment))?.type !== 'ext4') return error;
  const limit = `To keep its users to that size while it is mounted: ploop resize ${resolve(dir)} --limit ${sizeBytes}`;
  return new PloopError(error.code, message, { hint: `${hint ?? ''}. ${limit}`, details });
}

/** A resize2fs that does not come to its end leaves nothing behind. */
async function shrinkContent(dir: string, options: ShrinkImageOptions): Promise<void> {
  const { runDir, signal, onProgress } = options;
  await workAside(dir, (device) => shrinkExt4(device, options), { runDir, signal, onProgress, doing: 'shrinking' }).catch(
    (error: unknown) => {
      throw tooSmall(dir, error);
    },
  );
}

function xfsError(dir: string, superblock: Superblock, sizeBytes: number): PloopError {
  return new PloopError(
    'UNSUPPORTED',
    `${resolve(dir)} holds an xfs of ${formatSize(superblock.totalBytes)}, and xfs cannot shrink to ${formatSize(sizeBytes)}`,
    { hint: 'Make a smaller image with `ploop create`, mount both and copy the files.' },
  );
}

/** The device's name means nothing to who asked; the image's does. */
function tooSmall(dir: string, error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'INVALID_ARGUMENT') return error;
  const minSizeBytes = (error.details as { minSizeBytes?: number } | undefined)?.minSizeBytes ?? 0;
  return new PloopError('INVALID_ARGUMENT', `${error.message}: ${resolve(dir)} cannot become smaller than ${formatSize(minSizeBytes)}`, {
    hint: `The smallest possible: ploop resize ${resolve(dir)} --size ${minSizeBytes}. Deleting files makes it smaller.`,
    details: error.details,
  });
}

/** What cannot be asked where it ends must have nothing there. */
async function checkEmptyTail(dir: string, options: ShrinkImageOptions): Promise<void> {
  let endBytes = 0;
  for await (const extent of mapExtents(dir, { offset: options.sizeBytes, runDir: options.runDir, signal: options.signal })) {
    if (extent.layer !== null && !extent.zero) endBytes = extent.offset + extent.length;
  }
  if (endBytes === 0) return;
  throw new PloopError(
    'INVALID_ARGUMENT',
    `size: ${resolve(dir)} holds no file system that ploop knows, and data up to ${endBytes} bytes, beyond ${options.sizeBytes}`,
    {
      hint: `Without loss it can shrink to: --size ${endBytes}. To lose what is beyond the new end, add --cut.`,
      details: { minSizeBytes: endBytes },
    },
  );
}
