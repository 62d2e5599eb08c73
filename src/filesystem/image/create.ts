// SPDX-License-Identifier: Apache-2.0
// A new image with a file system on it, and files in that: all of it, or nothing is left.
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { fillDirectory } from '../../image/create.js';
import { isInUse, isLeftover, withCreation } from '../../image/creation.js';
import type { ImageDescriptor } from '../../image/descriptor.js';
import { checkOptions } from '../../native/arguments.js';
import type { FileSystemType } from '../type.js';
import { checkFormat, formatImage } from './format.js';
import { clearAbandoned } from './temporary.js';

export interface NewImageOptions extends RunDirectoryOption {
  sizeBytes: number;
  blockSizeBytes?: number | undefined;
  /** Of the image and of its file system: at most 16 bytes with ext4, 12 with xfs, 63 without a file system. */
  label?: string | undefined;
  /** Default ext4. */
  fs?: FileSystemType | 'none' | undefined;
  /** Layers get block checksums when they are sealed. */
  checksums?: boolean | undefined;
  /** A tar archive or a directory that the new file system is filled from. */
  from?: string | undefined;
  /** Bytes of `from` done and to do. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const OPTIONS = ['runDir', 'sizeBytes', 'blockSizeBytes', 'label', 'fs', 'checksums', 'from', 'onProgress', 'signal'];

/** `dir` must not exist or be empty. On failure and on interruption it is as it was before. */
export async function newImage(dir: string, options: NewImageOptions): Promise<ImageDescriptor> {
  checkOptions('create', options, OPTIONS);
  const { sizeBytes, blockSizeBytes, label, checksums, from, onProgress, signal, runDir } = options;
  const fs = options.fs ?? 'ext4';
  if (fs === 'none' && from !== undefined)
    throw new PloopError('INVALID_ARGUMENT', 'from: an image without a file system cannot be filled');
  const source = fs === 'none' ? undefined : await checkFormat({ type: fs, sizeBytes, label, from });
  if (await isLeftover(dir)) {
    // Killed before there was a descriptor, it had attached nothing.
    await clearAbandoned(dir, { runDir }).catch((error: unknown) => {
      if (!(error instanceof PloopError) || error.code !== 'NOT_AN_IMAGE') throw error;
    });
  }
  return withCreation(dir, async (path) => {
    const descriptor = await fillDirectory(path, { sizeBytes, blockSizeBytes, label, fs, checksums });
    if (fs === 'none') return descriptor;
    try {
      await formatImage(path, { type: fs, label, from: source, onProgress, signal, runDir });
    } catch (error) {
      if (!(await isInUse(path))) throw error;
      throw new PloopError('BUSY', `${text(error)}; and ${path} could not be removed again: it is in use`, { cause: error });
    }
    return descriptor;
  });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
