// SPDX-License-Identifier: Apache-2.0
// What a file system uses of its disk: of a mounted one from the kernel, otherwise from the superblock.
import { open, statfs } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import { parseSuperblock, SUPERBLOCK_BYTES, type Superblock } from './superblock.js';

export interface FileSystemUsage {
  /** As df shows it: without the file system's own metadata. */
  totalBytes: number;
  usedBytes: number;
  freeBytes: number;
  /**
   * 'mounted': the kernel's figures, up to date; a mounted xfs counts what it holds in reserve (2 % or so) as used.
   * 'superblock': those of the last unmount.
   */
  source: 'mounted' | 'superblock';
}

export async function fileSystemUsage(mountPoint: string): Promise<FileSystemUsage> {
  const info = await statfs(mountPoint, { bigint: true });
  const bytes = (blocks: bigint): number => Number(blocks * info.bsize);
  return { totalBytes: bytes(info.blocks), usedBytes: bytes(info.blocks - info.bfree), freeBytes: bytes(info.bfree), source: 'mounted' };
}

export function usageOf(superblock: Superblock): FileSystemUsage {
  const totalBytes = superblock.totalBytes - superblock.overheadBytes;
  const freeBytes = Math.min(superblock.freeBytes, totalBytes);
  return { totalBytes, usedBytes: totalBytes - freeBytes, freeBytes, source: 'superblock' };
}

/** The superblock on a device or disk image; undefined when there is none ploop knows. */
export async function readSuperblock(device: string): Promise<Superblock | undefined> {
  const file = await open(device, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new PloopError('IO', `cannot open ${device}: ${error.code ?? error.message}`, { cause: error });
  });
  try {
    const disk = Buffer.alloc(SUPERBLOCK_BYTES);
    const { bytesRead } = await file.read(disk, 0, SUPERBLOCK_BYTES, 0).catch((error: NodeJS.ErrnoException) => {
      throw new PloopError('IO', `cannot read ${device}: ${error.code ?? error.message}`, { cause: error });
    });
    return parseSuperblock(disk.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
