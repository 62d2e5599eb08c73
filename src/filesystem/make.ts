// SPDX-License-Identifier: Apache-2.0
// mkfs with options chosen for thin images: what is not written costs nothing, and what is written once stays paid for.
//
// Host space of a fresh 10 GiB image (a sparse file, e2fsprogs 1.47.0, xfsprogs 6.1.0):
//   mkfs.ext4 as it comes   68.2 MiB   the journal and the inode tables zeroed in place
//   mkfs.ext4 as below       0.3 MiB
// A journal is a ring: the host ends up paying for all of it, so it is kept small (16 MiB up to 64 GiB).
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { checkFileSystemChoice, mkfsProgram, type FileSystemType } from './type.js';

export interface MakeFileSystemOptions {
  type: FileSystemType;
  /** At most 16 bytes (ext4) or 12 (xfs). */
  label?: string | undefined;
  /** The device reads as zeros everywhere: nothing needs to be zeroed or discarded. Default false. */
  fresh?: boolean | undefined;
  sizeBytes: number;
  signal?: AbortSignal | undefined;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const BLOCK_BYTES = 4096;

/** How much the disk may grow before ext4's group descriptors must move. */
const GROWTH_FACTOR = 16;
/** ext4 block numbers in resize= are 32 bits wide. */
const MAX_RESIZE_BLOCKS = 2 ** 32 - 1;
/** Above that the reserved descriptor blocks themselves would cost more than they save (64 MiB at 16 TiB). */
const MAX_RESERVED_BYTES = 2048 * GIB;

export async function makeFileSystem(device: string, options: MakeFileSystemOptions): Promise<void> {
  const { type, label, sizeBytes, signal } = options;
  checkFileSystemChoice(type, { label, sizeBytes });
  const fresh = options.fresh ?? false;
  const args = type === 'ext4' ? ext4Arguments({ label, sizeBytes, fresh }, await mke2fsVersion()) : xfsArguments({ label, fresh });
  await run(mkfsProgram(type), [...args, device], { signal });
}

interface Choice {
  label: string | undefined;
  sizeBytes: number;
  fresh: boolean;
}

/** `version`: of mke2fs, as 1047 for 1.47. */
export function ext4Arguments(choice: Choice, version: number): string[] {
  const { label, sizeBytes, fresh } = choice;
  // Made on a newer host, the image must still mount and check on an older one; quota needs kernel support.
  const features = ['64bit', 'metadata_csum', '^quota', '^project'];
  if (version >= 1047) features.push('^orphan_file', '^metadata_csum_seed');
  const extended = [fresh ? 'nodiscard' : 'discard', ...zeroing(fresh, version), ...growthRoom(sizeBytes)];
  return [
    ['-q', '-F'],
    ['-b', String(BLOCK_BYTES)],
    ['-m', '1'],
    ['-O', features.join(',')],
    ['-J', `size=${journalMib(sizeBytes)}`],
    ['-E', extended.join(',')],
    label === undefined ? [] : ['-L', label],
  ].flat();
}

/** A fresh image is zeros already; otherwise the kernel zeroes later, by discards that cost the host nothing. */
function zeroing(fresh: boolean, version: number): string[] {
  if (fresh && version >= 1047) return ['assume_storage_prezeroed=1'];
  return ['lazy_itable_init=1', 'lazy_journal_init=1'];
}

/** By default mke2fs reserves room for 1024 times the size, and each reserved block is written: 4 MiB at once. */
function growthRoom(sizeBytes: number): string[] {
  if (sizeBytes >= MAX_RESERVED_BYTES) return [];
  const bytes = Math.min(sizeBytes * GROWTH_FACTOR, 2 * MAX_RESERVED_BYTES);
  return [`resize=${Math.min(Math.floor(bytes / BLOCK_BYTES), MAX_RESIZE_BLOCKS)}`];
}

function journalMib(sizeBytes: number): number {
  if (sizeBytes < 256 * MIB) return 4;
  if (sizeBytes < GIB) return 8;
  if (sizeBytes < 64 * GIB) return 16;
  return sizeBytes < 1024 * GIB ? 64 : 128;
}

export function xfsArguments(choice: Omit<Choice, 'sizeBytes'>): string[] {
  const { label, fresh } = choice;
  return [
    ['-q', '-f'],
    // -K: no discard, a fresh image has nothing to give back.
    fresh ? ['-K'] : [],
    // A stripe geometry makes no sense on a thin image, whatever the device reports.
    ['-d', 'noalign'],
    // 4 KiB log writes: never a read-modify-write in the image, and the disk may be attached with 4 KiB sectors later.
    ['-s', 'size=4096'],
    // The smallest xfsprogs makes since 5.19; mkfs would take up to 2 GiB, which the host ends up paying for.
    ['-l', 'size=64m'],
    ['-m', 'reflink=1'],
    label === undefined ? [] : ['-L', label],
  ].flat();
}

async function mke2fsVersion(): Promise<number> {
  const { stderr } = await run('mke2fs', ['-V']);
  const match = /mke2fs (\d+)\.(\d+)/.exec(stderr);
  if (!match) throw new PloopError('TOOL_FAILED', `mke2fs -V: cannot find the version in '${stderr.trim()}'`);
  return Number(match[1]) * 1000 + Number(match[2]);
}
