// SPDX-License-Identifier: Apache-2.0
// A new image over a snapshot of another one. Both use the same layer files, which the file system counts, so that either
// can be removed first; nothing is copied.
import { rm, stat } from 'node:fs/promises';

import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { type ImageDescriptor, readDescriptor } from '../../image/descriptor.js';
import { findSnapshot } from '../../image/snapshots.js';
import { checkOptions, checkPath } from '../../native/arguments.js';
import { native } from '../../native/index.js';
import { consistentSnapshot } from './snapshot.js';

export interface CloneImageOptions extends RunDirectoryOption {
  /** Id, unique prefix or name; absent: one is taken of the present state. */
  snapshot?: string | undefined;
  /** Default: that of the source. */
  label?: string | undefined;
  /** Copy the layers where files cannot be shared, as between two file systems. */
  copy?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface ClonedImage {
  descriptor: ImageDescriptor;
  /** Of the source, which the clone begins with. */
  snapshot: string;
}

export async function cloneImage(from: string, to: string, options: CloneImageOptions = {}): Promise<ClonedImage> {
  checkPath('clone: from', from);
  checkPath('clone: to', to);
  checkOptions('clone', options, ['runDir', 'snapshot', 'label', 'copy', 'signal']);
  const { label, copy = false, signal, runDir } = options;
  const wasThere = (await stat(to).catch(() => null)) !== null;
  const snapshot =
    options.snapshot === undefined
      ? (await consistentSnapshot(from, { runDir, description: 'for a clone', signal })).id
      : findSnapshot(await readDescriptor(from), options.snapshot).id;
  try {
    await native.clone(from, snapshot, to, { copy, ...(label === undefined ? {} : { label }) });
  } catch (error) {
    if (!wasThere) await rm(to, { recursive: true, force: true });
    throw error instanceof PloopError && error.code === 'UNSUPPORTED' ? withHint(error) : error;
  }
  return { descriptor: await readDescriptor(to), snapshot };
}

function withHint(error: PloopError): PloopError {
  return new PloopError('UNSUPPORTED', error.message, {
    hint: 'Clone to the same file system, or give --copy to copy the layers.',
    cause: error,
  });
}
