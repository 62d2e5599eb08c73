// SPDX-License-Identifier: Apache-2.0
// What an image's descriptor says, without taking its lock: it is replaced by rename, so a reader sees the old or the new one.
// Parsed descriptors are kept (lru-cache) as long as image.json is the same file, unchanged.

import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { LRUCache } from 'lru-cache';

import { PloopError } from '../errors.js';
import { native, type NativeImageInfo } from '../native/index.js';

/** As in image.json; shared between callers, so read-only. */
export type ImageDescriptor = Readonly<NativeImageInfo>;

interface Entry {
  stamp: string;
  descriptor: ImageDescriptor;
}

const parsed = new LRUCache<string, Entry>({ max: 256 });

export async function readDescriptor(dir: string): Promise<ImageDescriptor> {
  const path = resolve(dir);
  const stamp = await stampOf(path);
  const known = parsed.get(path);
  if (known !== undefined && known.stamp === stamp) return known.descriptor;
  const descriptor = await native.info(path, { lock: false });
  // Only what did not change while it was read: the next caller must not find an old descriptor under a new stamp.
  if ((await stampOf(path)) === stamp) parsed.set(path, { stamp, descriptor });
  return descriptor;
}

async function stampOf(path: string): Promise<string> {
  const info = await stat(join(path, 'image.json'), { bigint: true }).catch(async (error: NodeJS.ErrnoException) => {
    throw await notAnImage(path, error);
  });
  return `${info.dev}:${info.ino}:${info.mtimeNs}:${info.ctimeNs}:${info.size}`;
}

async function notAnImage(path: string, cause: NodeJS.ErrnoException): Promise<PloopError> {
  if (cause.code === 'EACCES') {
    return new PloopError('NOT_PERMITTED', `${path}: no permission to read the image`, { hint: 'Run the command as root.', cause });
  }
  const folder = await stat(path).catch(() => null);
  if (folder === null) return new PloopError('NOT_FOUND', `${path} does not exist`, { cause });
  const what = folder.isDirectory() ? 'holds no image (there is no image.json)' : 'is not a directory';
  return new PloopError('NOT_AN_IMAGE', `${path} ${what}`, { hint: 'Name the directory that `ploop create` made.', cause });
}
