// SPDX-License-Identifier: Apache-2.0
// Makes a file system smaller than its device, so that the rest of the device can be cut off.
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { prepareExt4 } from './check.js';
import { readSuperblock } from './usage.js';

export interface ShrinkOptions {
  /** What the file system must fit into; a multiple of 4096. */
  sizeBytes: number;
  onStep?: ((step: ShrinkStep) => void) | undefined;
  /** Looked at before and between: a resize2fs that is killed in the middle leaves a damaged file system. */
  signal?: AbortSignal | undefined;
}

export type ShrinkStep = 'check' | 'file system' | 'disk';

/** INVALID_ARGUMENT with `details.minSizeBytes` when that is too small; nothing has changed then. */
export async function shrinkExt4(device: string, options: ShrinkOptions): Promise<void> {
  const { sizeBytes, onStep, signal } = options;
  onStep?.('check');
  await prepareExt4(device, { signal });
  const minSizeBytes = await ext4MinimumBytes(device, signal);
  if (sizeBytes < minSizeBytes) {
    throw new PloopError('INVALID_ARGUMENT', `size: the ext4 on it needs ${minSizeBytes} bytes at least, not ${sizeBytes}`, {
      details: { minSizeBytes },
    });
  }
  if (signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before the file system on ${device} was shrunk`);
  onStep?.('file system');
  await run('resize2fs', [device, `${sizeBytes / 1024}K`]);
  const now = await readSuperblock(device);
  if (now?.type === 'ext4' && now.totalBytes <= sizeBytes) return;
  throw new PloopError('TOOL_FAILED', `resize2fs left a file system of ${now?.totalBytes ?? 0} bytes on ${device}, not ${sizeBytes}`);
}

/** As resize2fs estimates it: what it takes it also reaches. The file system must have been checked just before. */
async function ext4MinimumBytes(device: string, signal: AbortSignal | undefined): Promise<number> {
  const { stdout } = await run('resize2fs', ['-P', device], { signal, env: { LC_ALL: 'C' } });
  const blocks = /minimum size of the filesystem: (\d+)/i.exec(stdout)?.[1];
  const superblock = await readSuperblock(device);
  if (blocks === undefined || superblock === undefined) {
    throw new PloopError('TOOL_FAILED', `resize2fs -P says no size for the file system on ${device}: ${stdout.trim()}`);
  }
  // Whole blocks of any image.
  return Math.ceil((Number(blocks) * superblock.blockSizeBytes) / 65536) * 65536;
}
