// SPDX-License-Identifier: Apache-2.0
// Making and removing image directories.

import { rmdir } from 'node:fs/promises';
import { resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { checkOptions, checkPath } from '../native/arguments.js';
import { native } from '../native/index.js';
import { isInUse, removeFiles, withCreation } from './creation.js';
import { readDescriptor, type ImageDescriptor } from './descriptor.js';

export interface CreateImageOptions {
  /** Rounded up to a multiple of the block size. */
  sizeBytes: number;
  /** 4096 (default), 8192, 16384, 32768 or 65536. */
  blockSizeBytes?: number | undefined;
  /** At most 63 bytes. */
  label?: string | undefined;
  /** Noted in the descriptor, not made here. */
  fs?: 'ext4' | 'xfs' | 'none' | undefined;
  /** Layers get block checksums when they are sealed. */
  checksums?: boolean | undefined;
}

/**
 * Makes an image in `dir`, which must not exist or be empty. On failure nothing is left. An image without a file system:
 * src/filesystem makes one.
 */
export async function createImage(dir: string, options: CreateImageOptions): Promise<ImageDescriptor> {
  checkPath('create: dir', dir);
  checkOptions('create', options, ['sizeBytes', 'blockSizeBytes', 'label', 'fs', 'checksums']);
  return withCreation(dir, (path) => fillDirectory(path, options));
}

/** Inside withCreation(). */
export async function fillDirectory(path: string, options: CreateImageOptions): Promise<ImageDescriptor> {
  const { sizeBytes, blockSizeBytes, label, fs, checksums } = options;
  await native.create(path, {
    size: sizeBytes,
    ...(blockSizeBytes === undefined ? {} : { blockSize: blockSizeBytes }),
    ...(label === undefined ? {} : { label }),
    ...(fs === undefined ? {} : { fs }),
    ...(checksums === undefined ? {} : { checksums }),
  });
  return readDescriptor(path);
}

/** Removes a detached image: its descriptor first, then its layers, then the directory unless it holds something else. */
export async function removeImage(dir: string, options: { keepDirectory?: boolean } = {}): Promise<void> {
  checkOptions('remove', options, ['keepDirectory']);
  const path = resolve(checkPath('remove: dir', dir));
  await readDescriptor(path).catch((error: unknown) => {
    // A damaged image can be removed, too; what is not an image is left alone.
    if (error instanceof PloopError && ['NOT_AN_IMAGE', 'NOT_FOUND', 'NOT_PERMITTED'].includes(error.code)) throw error;
  });
  if (await isInUse(path)) {
    throw new PloopError('BUSY', `${path} is in use`, { hint: `Detach it first: ploop detach ${path}` });
  }
  await removeFiles(path);
  if (options.keepDirectory === true) return;
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY') throw new PloopError('IO', `cannot remove ${path}: ${error.code ?? error.message}`, { cause: error });
  });
}
