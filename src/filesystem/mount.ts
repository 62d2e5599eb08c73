// SPDX-License-Identifier: Apache-2.0
// mount(8) of one device on one directory.
import { realpath, stat } from 'node:fs/promises';

import { readMounts } from '../attach/mounts.js';
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import type { FileSystemType } from './type.js';

export interface MountOptions {
  type: FileSystemType;
  /** The device itself is read-only: a journal that was not played back stays so. */
  readOnly?: boolean | undefined;
  /** Looked at before: a mount(8) that is killed may or may not have mounted. */
  signal?: AbortSignal | undefined;
}

export interface Mounted {
  /** The real path, as /proc/mounts has it. */
  mountPoint: string;
  /**
   * Mounted without playing back the journal: the newest changes, or a file in the middle of one, may be missing. Not so
   * when it was taken frozen: then all is in place, and only xfs still has a record in its log (kept for a crash meanwhile).
   */
  journalSkipped: boolean;
}

/** What a read-only device needs when its journal cannot be played back. */
const SKIP_JOURNAL: Readonly<Record<FileSystemType, string>> = { ext4: 'noload', xfs: 'norecovery' };
/** A snapshot has the UUID of the file system it was taken of, which xfs refuses to mount twice. */
const ALWAYS: Readonly<Record<FileSystemType, readonly string[]>> = { ext4: [], xfs: ['nouuid'] };

export async function mountFileSystem(device: string, mountPoint: string, options: MountOptions): Promise<Mounted> {
  const path = await checkMountPoint(mountPoint);
  const { type, readOnly, signal } = options;
  const mount = async (words: readonly string[]): Promise<void> => {
    if (signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before ${device} was mounted`);
    await run('mount', ['-t', type, '-o', [...words, ...ALWAYS[type]].join(','), device, path]);
  };
  if (readOnly !== true) {
    await mount(['rw']).catch((error: unknown) => {
      throw mountFailure(error, device);
    });
    return { mountPoint: path, journalSkipped: false };
  }
  try {
    await mount(['ro']);
    return { mountPoint: path, journalSkipped: false };
  } catch (error) {
    if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED') throw error;
  }
  await mount(['ro', SKIP_JOURNAL[type]]).catch((error: unknown) => {
    throw mountFailure(error, device);
  });
  return { mountPoint: path, journalSkipped: true };
}

/** An existing directory on which nothing is mounted yet; answers its real path. */
export async function checkMountPoint(mountPoint: string): Promise<string> {
  const found = await stat(mountPoint).catch(() => null);
  if (found === null) {
    throw new PloopError('NOT_FOUND', `mount point ${mountPoint} does not exist`, { hint: `Make it first: mkdir -p ${mountPoint}` });
  }
  if (!found.isDirectory()) throw new PloopError('INVALID_ARGUMENT', `mount point ${mountPoint} is not a directory`);
  const path = await realpath(mountPoint);
  const taken = (await readMounts()).findLast((entry) => entry.mountPoint === path);
  if (taken !== undefined) {
    throw new PloopError('MOUNTED', `${path} is a mount point already: ${taken.source} (${taken.type}) is mounted there`, {
      hint: 'Choose another directory, or unmount it first.',
      details: { mountPoint: path, source: taken.source, type: taken.type },
    });
  }
  return path;
}

function mountFailure(error: unknown, device: string): unknown {
  if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED') return error;
  if (/unknown filesystem type/.test(error.message)) {
    return new PloopError('UNSUPPORTED', `this kernel cannot mount the file system on ${device}`, { cause: error, details: error.details });
  }
  if (/permission denied|must be superuser|Operation not permitted/.test(error.message)) {
    return new PloopError('NOT_PERMITTED', `no permission to mount ${device}`, { hint: 'Run the command as root.', cause: error });
  }
  return new PloopError('TOOL_FAILED', error.message, {
    hint: 'The file system may be damaged: the kernel log (dmesg) says what is wrong.',
    details: error.details,
    cause: error,
  });
}
