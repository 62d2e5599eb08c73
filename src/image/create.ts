// SPDX-License-Identifier: Apache-2.0
// Making and removing image directories.

import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { checkOptions, checkPath } from '../native/arguments.js';
import { native } from '../native/index.js';
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
  const path = resolve(dir);
  const made = await makeDirectory(path);
  const { sizeBytes, blockSizeBytes, label, fs, checksums } = options;
  try {
    await native.create(path, {
      size: sizeBytes,
      ...(blockSizeBytes === undefined ? {} : { blockSize: blockSizeBytes }),
      ...(label === undefined ? {} : { label }),
      ...(fs === undefined ? {} : { fs }),
      ...(checksums === undefined ? {} : { checksums }),
    });
    return await readDescriptor(path);
  } catch (error) {
    await removeFiles(path);
    if (made) await rmdir(path).catch(() => undefined);
    throw error;
  }
}

/** Removes a detached image: its descriptor first, then its layers, then the directory unless it holds something else. */
export async function removeImage(dir: string, options: { keepDirectory?: boolean } = {}): Promise<void> {
  checkOptions('remove', options, ['keepDirectory']);
  const path = resolve(checkPath('remove: dir', dir));
  await readDescriptor(path).catch((error: unknown) => {
    // A damaged image can be removed, too; what is not an image is left alone.
    if (error instanceof PloopError && ['NOT_AN_IMAGE', 'NOT_FOUND', 'NOT_PERMITTED'].includes(error.code)) throw error;
  });
  if (await native.isLocked(join(path, 'lock'), { shared: true })) {
    throw new PloopError('BUSY', `${path} is in use`, { hint: `Detach it first: ploop detach ${path}` });
  }
  await removeFiles(path);
  if (options.keepDirectory === true) return;
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY') throw new PloopError('IO', `cannot remove ${path}: ${error.code ?? error.message}`, { cause: error });
  });
}

/** True when the directory was made, false when it was there, empty. */
async function makeDirectory(path: string): Promise<boolean> {
  const existing = await stat(path).catch(() => null);
  if (existing === null) {
    await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      throw mkdirFailure(path, error);
    });
    return true;
  }
  if (!existing.isDirectory()) throw new PloopError('EXISTS', `${path} exists and is not a directory`);
  const names = await readdir(path);
  if (names.length === 0) return false;
  const what = names.includes('image.json') ? 'holds an image already' : `exists and is not empty (it holds ${names[0] ?? ''})`;
  throw new PloopError('EXISTS', `${path} ${what}`, { hint: 'Choose another directory, or remove this one first.' });
}

function mkdirFailure(path: string, error: NodeJS.ErrnoException): PloopError {
  if (error.code === 'ENOENT')
    return new PloopError('NOT_FOUND', `${dirname(path)} does not exist`, { hint: `Make it first: mkdir -p ${dirname(path)}` });
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new PloopError('NOT_PERMITTED', `no permission to make ${path}`, { cause: error });
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') return new PloopError('NO_SPACE', `no space to make ${path}`, { cause: error });
  if (error.code === 'EROFS') return new PloopError('READ_ONLY', `${dirname(path)} is on a read-only file system`, { cause: error });
  return new PloopError('IO', `cannot make ${path}: ${error.code ?? error.message}`, { cause: error });
}

/** Only what an image consists of: a directory that holds other things keeps them. */
async function removeFiles(path: string): Promise<void> {
  for (const name of ['image.json', 'image.json.new', 'layers', 'lock']) await rm(join(path, name), { recursive: true, force: true });
}
