// SPDX-License-Identifier: Apache-2.0
// A new image over a snapshot of another one. Both use the same layer files, which the file system counts, so that either
// can be removed first; nothing is copied.
import { rm, stat } from 'node:fs/promises';

import { hideSnapshot } from '../../attach/jobs.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { type ImageDescriptor, readDescriptor } from '../../image/descriptor.js';
import { findSnapshot } from '../../image/snapshots.js';
import { checkOptions, checkPath } from '../../native/arguments.js';
import { native } from '../../native/index.js';
import type { CollectNote } from './collect.js';
import { consistentSnapshot } from './snapshot.js';

export interface CloneImageOptions extends RunDirectoryOption, CollectNote {
  /** Id, unique prefix or name; absent: the present state. */
  snapshot?: string | undefined;
  /** Default: that of the source. */
  label?: string | undefined;
  /** Copy the layers where files cannot be shared, as between two file systems. */
  copy?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface ClonedImage {
  descriptor: ImageDescriptor;
  /** Of the source, which the clone begins with; of its present state one that is deleted already. */
  snapshot: string;
}

export async function cloneImage(from: string, to: string, options: CloneImageOptions = {}): Promise<ClonedImage> {
  checkPath('clone: from', from);
  checkPath('clone: to', to);
  checkOptions('clone', options, ['runDir', 'snapshot', 'label', 'copy', 'onNote', 'signal']);
  const { label, copy = false, signal, runDir } = options;
  const wasThere = (await stat(to).catch(() => null)) !== null;
  const given = options.snapshot === undefined ? null : findSnapshot(await readDescriptor(from), options.snapshot).id;
  const snapshot = given ?? (await consistentSnapshot(from, { runDir, description: 'for a clone', signal })).id;
  try {
    await native.clone(from, snapshot, to, { copy, ...(label === undefined ? {} : { label }) });
  } catch (error) {
    if (!wasThere) await rm(to, { recursive: true, force: true });
    throw error instanceof PloopError ? withHint(from, error) : error;
  } finally {
    if (given === null) await hide(from, snapshot, options);
  }
  return { descriptor: await readDescriptor(to), snapshot };
}

/** Nobody asked for it; its layer stays as long as the clone needs it. */
async function hide(from: string, id: string, { runDir, onNote }: CloneImageOptions): Promise<void> {
  await hideSnapshot(from, id, { runDir }).catch((error: unknown) => {
    onNote?.(`${from}: snapshot ${id}, taken for the clone, stays: ${(error as Error).message}`);
  });
}

function withHint(from: string, error: PloopError): PloopError {
  const { code, message, details } = error;
  const hints: Partial<Record<typeof code, string>> = {
    BUSY: `Wait until its layers have been merged or sealed (ploop jobs ${from} shows merges), then clone it.`,
    UNSUPPORTED: 'Clone to the same file system, or give --copy to copy the layers.',
  };
  const hint = error.hint ?? hints[code];
  return hint === undefined ? error : new PloopError(code, message, { hint, details, cause: error });
}
