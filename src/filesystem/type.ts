// SPDX-License-Identifier: Apache-2.0
// The file systems ploop makes, and what each allows.
import { PloopError } from '../errors.js';
import { formatSize } from '../units.js';

export type FileSystemType = 'ext4' | 'xfs';

const MIB = 1024 * 1024;

interface Limits {
  labelBytes: number;
  minSizeBytes: number;
  /** mkfs of the host; the same package holds the other tools. */
  mkfs: string;
}

const LIMITS: Readonly<Record<FileSystemType, Limits>> = {
  // Below that the journal (4 MiB at least) would be most of the disk.
  ext4: { labelBytes: 16, minSizeBytes: 16 * MIB, mkfs: 'mkfs.ext4' },
  // xfsprogs refuses less since 5.19.
  xfs: { labelBytes: 12, minSizeBytes: 300 * MIB, mkfs: 'mkfs.xfs' },
};

export function isFileSystemType(word: string): word is FileSystemType {
  return Object.hasOwn(LIMITS, word);
}

export function mkfsProgram(type: FileSystemType): string {
  return LIMITS[type].mkfs;
}

/** Refuses what mkfs would refuse, before anything is made: INVALID_ARGUMENT with the limit. */
export function checkFileSystemChoice(type: FileSystemType, choice: { sizeBytes?: number | undefined; label?: string | undefined }): void {
  const { sizeBytes, label } = choice;
  const { labelBytes, minSizeBytes } = LIMITS[type];
  if (label !== undefined && Buffer.byteLength(label) > labelBytes) {
    throw new PloopError('INVALID_ARGUMENT', `label: '${label}' is ${Buffer.byteLength(label)} bytes; ${type} takes at most ${labelBytes}`);
  }
  if (sizeBytes !== undefined && sizeBytes < minSizeBytes) {
    throw new PloopError(
      'INVALID_ARGUMENT',
      `size: ${formatSize(sizeBytes)} is too small for ${type}, which needs at least ${formatSize(minSizeBytes)}`,
      {
        hint: `Give a larger size${type === 'xfs' ? ', or choose ext4' : ''}.`,
      },
    );
  }
}
