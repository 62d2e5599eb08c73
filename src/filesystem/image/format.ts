// SPDX-License-Identifier: Apache-2.0
// The second half of creating an image: a file system in it, and files in that.
import { findAttachment } from '../../attach/attachments.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { checkNothingLost } from '../../attach/write-errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import { PloopError } from '../../errors.js';
import { findProgram } from '../../exec/find.js';
import { native } from '../../native/index.js';
import { makeFileSystem } from '../make.js';
import { populate } from '../populate.js';
import { checkSource, type Source } from '../source.js';
import { checkFileSystemChoice, mkfsProgram, type FileSystemType } from '../type.js';
import { trimJournal } from '../trim.js';
import { readSuperblock } from '../usage.js';
import { withAttached, withMountedDevice, type TemporaryOptions } from './temporary.js';

export interface FormatImageOptions extends Omit<TemporaryOptions, 'readOnly'> {
  type: FileSystemType;
  label?: string | undefined;
  /** A tar archive or a directory to fill the file system from. */
  from?: string | Source | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * To be called before the image is made, so that a bad choice changes nothing: checks size, label, source and tools.
 * Answers the source for formatImage().
 */
export async function checkFormat(choice: {
  type: FileSystemType;
  sizeBytes: number;
  label?: string | undefined;
  from?: string | undefined;
}): Promise<Source | undefined> {
  checkFileSystemChoice(choice.type, choice);
  await findProgram(mkfsProgram(choice.type));
  return choice.from === undefined ? undefined : checkSource(choice.from);
}

/** Makes a file system in a detached image that holds none, and fills it. The caller removes the image when this fails. */
export async function formatImage(dir: string, options: FormatImageOptions): Promise<void> {
  const { type, label, from, signal, runDir } = options;
  const { size: sizeBytes } = await readDescriptor(dir);
  const fresh = await isFresh(dir);
  const fill = async (mountPoint: string, source: string | Source): Promise<void> => {
    await populate(mountPoint, source, options);
    // What the files went through on their way: 9 MiB of the 189 MiB that a minimal Debian cost the host.
    if (type === 'ext4') await trimJournal(mountPoint, { signal });
  };
  const format = async (device: string): Promise<void> => {
    const existing = fresh ? undefined : await readSuperblock(device);
    if (existing !== undefined) throw new PloopError('EXISTS', `${dir} holds an ${existing.type} file system already`);
    await makeFileSystem(device, { type, label, sizeBytes, fresh, signal });
    if (from === undefined) return;
    await withMountedDevice(device, (mountPoint) => fill(mountPoint, from), { type, runDir, signal });
  };
  await withAttached(
    dir,
    async ({ device }) => {
      await format(device).catch(async (error: unknown) => {
        // A full host disk is seen inside the image as an input/output error.
        throw (await checkWrites(dir, { runDir }).catch((lost: unknown) => lost)) ?? error;
      });
      await checkWrites(dir, { runDir });
    },
    { runDir, signal },
  );
}

async function checkWrites(dir: string, options: RunDirectoryOption): Promise<void> {
  const attachment = await findAttachment(dir, options);
  if (attachment !== null) await checkNothingLost(attachment);
}

/** Nothing was ever written: every block reads as zeros. */
async function isFresh(dir: string): Promise<boolean> {
  const { layers } = await native.info(dir, { usage: true });
  return layers.length === 1 && layers[0]?.usage?.ownedBytes === 0;
}
