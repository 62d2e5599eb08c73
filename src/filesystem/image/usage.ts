// SPDX-License-Identifier: Apache-2.0
// What file system an image holds and what it uses, whether the image is mounted, attached or neither. Changes nothing.
import { findAttachment } from '../../attach/attachments.js';
import { readMounts } from '../../attach/mounts.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { native } from '../../native/index.js';
import { parseSuperblock, SUPERBLOCK_BYTES, type Superblock } from '../superblock.js';
import type { FileSystemType } from '../type.js';
import { fileSystemUsage, readSuperblock, usageOf, type FileSystemUsage } from '../usage.js';

export interface ImageFileSystem {
  type: FileSystemType;
  label: string;
  uuid: string;
  mountPoints: string[];
  usage: FileSystemUsage;
}

/** null: none that ploop knows. */
export async function imageFileSystem(dir: string, options: RunDirectoryOption = {}): Promise<ImageFileSystem | null> {
  const attachment = await findAttachment(dir, options);
  const device = attachment?.device ?? null;
  if (attachment !== null && (!attachment.live || device === null)) return null;
  const superblock = await (device === null ? superblockOfDetached(dir) : readSuperblock(device));
  if (superblock === undefined) return null;
  const mounts = attachment === null ? [] : (await readMounts()).filter((entry) => entry.devno === attachment.devno);
  const mounted = mounts[0];
  return {
    type: superblock.type,
    label: superblock.label,
    uuid: superblock.uuid,
    mountPoints: mounts.map((entry) => entry.mountPoint),
    usage: mounted === undefined ? usageOf(superblock) : await fileSystemUsage(mounted.mountPoint),
  };
}

async function superblockOfDetached(dir: string): Promise<Superblock | undefined> {
  const reader = await native.openReader(dir);
  try {
    return reader.size < SUPERBLOCK_BYTES ? undefined : parseSuperblock(await reader.read(0, SUPERBLOCK_BYTES));
  } finally {
    await reader.close();
  }
}
