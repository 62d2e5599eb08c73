// SPDX-License-Identifier: Apache-2.0
// What file system an image holds and what it uses, whether the image is mounted, attached or neither. Changes nothing.
import { findAttachment } from '../../attach/attachments.js';
import { reachableMounts } from '../../attach/mounts.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { native } from '../../native/index.js';
import { readDescriptor } from '../../image/descriptor.js';
import { fileSystemLimit } from '../limit.js';
import { parseSuperblock, SUPERBLOCK_BYTES, type Superblock } from '../superblock.js';
import type { FileSystemType } from '../type.js';
import { fileSystemUsage, readSuperblock, usageOf, type FileSystemUsage } from '../usage.js';

export interface ImageFileSystem {
  type: FileSystemType;
  label: string;
  uuid: string;
  /** What a mounted ext4 may use of its disk (`ploop resize --limit`); null: all, or it can't be seen now. */
  limitBytes: number | null;
  usage: FileSystemUsage;
}

/** null: none that ploop knows, or it cannot be looked at now. */
export async function imageFileSystem(dir: string, options: RunDirectoryOption = {}): Promise<ImageFileSystem | null> {
  const attachment = await findAttachment(dir, options);
  // Reading its device would wait for a worker.
  if (attachment?.state === 'stopped') return null;
  const live = attachment?.live === true ? attachment : null;
  const superblock = await (live?.device ? readSuperblock(live.device) : superblockOfDetached(dir)).catch(() => undefined);
  if (superblock === undefined) return null;
  const { type, label, uuid } = superblock;
  const [mount] = live === null || live.devno === null ? [] : await reachableMounts(live.devno);
  const mountPoint = mount?.mountPoint;
  const mounted = mountPoint === undefined ? null : await fileSystemUsage(mountPoint).catch(() => null);
  const limitBytes = type === 'ext4' && mountPoint !== undefined ? await limitOf(dir, mountPoint).catch(() => null) : null;
  return { type, label, uuid, limitBytes, usage: mounted ?? usageOf(superblock) };
}

async function limitOf(dir: string, mountPoint: string): Promise<number | null> {
  return fileSystemLimit({ mountPoint, sizeBytes: (await readDescriptor(dir)).size });
}

async function superblockOfDetached(dir: string): Promise<Superblock | undefined> {
  await using reader = await native.openReader(dir);
  return reader.size < SUPERBLOCK_BYTES ? undefined : parseSuperblock(await reader.read(0, SUPERBLOCK_BYTES));
}
