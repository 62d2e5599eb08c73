// SPDX-License-Identifier: Apache-2.0
// Reads what the first 4 KiB of a disk say about its file system: no tool, no mount, no loop device needed.
import type { FileSystemType } from './type.js';

export interface Superblock {
  type: FileSystemType;
  label: string;
  uuid: string;
  blockSizeBytes: number;
  /** The whole file system, its own metadata included. */
  totalBytes: number;
  /** As of the last clean unmount or checkpoint. */
  freeBytes: number;
  /** What df leaves out of the total: inode tables, bitmaps, journal. 0 when the superblock does not tell. */
  overheadBytes: number;
}

/** How much of the disk parseSuperblock wants to see. */
export const SUPERBLOCK_BYTES = 4096;

const EXT4_AT = 1024;
const EXT4_MAGIC = 0xef53;
const EXT4_INCOMPAT_64BIT = 0x80;
const XFS_MAGIC = 'XFSB';

/** undefined: neither ext4 nor xfs. */
export function parseSuperblock(disk: Buffer): Superblock | undefined {
  if (disk.length < SUPERBLOCK_BYTES) return undefined;
  if (disk.toString('latin1', 0, 4) === XFS_MAGIC) return parseXfs(disk);
  if (disk.readUInt16LE(EXT4_AT + 0x38) === EXT4_MAGIC) return parseExt4(disk.subarray(EXT4_AT));
  return undefined;
}

function parseExt4(sb: Buffer): Superblock {
  const blockSizeBytes = 1024 * 2 ** Math.min(sb.readUInt32LE(0x18), 6);
  const wide = (sb.readUInt32LE(0x60) & EXT4_INCOMPAT_64BIT) !== 0;
  const blocks = (low: number, high: number): number => sb.readUInt32LE(low) + (wide ? sb.readUInt32LE(high) * 2 ** 32 : 0);
  return {
    type: 'ext4',
    label: text(sb.subarray(0x78, 0x88)),
    uuid: uuid(sb.subarray(0x68, 0x78)),
    blockSizeBytes,
    totalBytes: blocks(0x04, 0x150) * blockSizeBytes,
    freeBytes: blocks(0x0c, 0x158) * blockSizeBytes,
    // resize2fs writes 0, which the next mount makes good.
    overheadBytes: (sb.readUInt32LE(0x248) || ext4OverheadBlocks(sb, blocks(0x04, 0x150), blockSizeBytes)) * blockSizeBytes,
  };
}

/** As the kernel counts it: inode tables, bitmaps, superblocks with their descriptors, and the journal. */
function ext4OverheadBlocks(sb: Buffer, totalBlocks: number, blockSizeBytes: number): number {
  const firstBlock = sb.readUInt32LE(0x14);
  const groups = Math.ceil((totalBlocks - firstBlock) / Math.max(sb.readUInt32LE(0x20), 1));
  const inodeTable = Math.ceil((sb.readUInt32LE(0x28) * sb.readUInt16LE(0x58)) / blockSizeBytes);
  const descriptors = Math.ceil((groups * Math.max(sb.readUInt16LE(0xfe), 32)) / blockSizeBytes);
  const superblocks = sparseGroups(groups) * (1 + descriptors + sb.readUInt16LE(0xce));
  // A copy of the journal's inode is kept here; its size is the last word but one.
  const journal = sb.readUInt8(0xfd) === 1 ? sb.readUInt32LE(0x10c + 16 * 4) / blockSizeBytes : 0;
  return firstBlock + groups * (inodeTable + 2) + superblocks + journal;
}

/** Groups that hold a copy of the superblock: 0, 1 and the powers of 3, 5 and 7. */
function sparseGroups(groups: number): number {
  let count = Math.min(groups, 2);
  for (const base of [3, 5, 7]) for (let group = base; group < groups; group *= base) count++;
  return count;
}

function parseXfs(sb: Buffer): Superblock {
  const blockSizeBytes = sb.readUInt32BE(4);
  return {
    type: 'xfs',
    label: text(sb.subarray(108, 120)),
    uuid: uuid(sb.subarray(32, 48)),
    blockSizeBytes,
    totalBytes: Number(sb.readBigUInt64BE(8)) * blockSizeBytes,
    freeBytes: Number(sb.readBigUInt64BE(144)) * blockSizeBytes,
    // The log inside the file system is what statfs leaves out.
    overheadBytes: sb.readUInt32BE(96) * blockSizeBytes,
  };
}

function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function uuid(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
