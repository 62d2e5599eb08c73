// SPDX-License-Identifier: Apache-2.0
// Temporary snapshots whose holder has ended are deleted, as snapshot-delete does, by whatever works on the image next.
// One that is attached (mounted, exported) is kept until it is not. What fails is tried again by the next command.
import { attachmentsOf } from '../../attach/attachments.js';
import { deleteSnapshot } from '../../attach/jobs.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { type ListedSnapshot, listSnapshots } from '../../image/snapshots.js';

export interface CollectNote {
  /** Told of each temporary snapshot that could not be deleted now. */
  onNote?: ((text: string) => void) | undefined;
}

export interface CollectOptions extends RunDirectoryOption, CollectNote {
  signal?: AbortSignal | undefined;
}

/** The ids of those deleted. Never throws; an attached image merges in the background. */
export async function collectTemporary(dir: string, options: CollectOptions = {}): Promise<string[]> {
  const { runDir, onNote, signal } = options;
  const collected: string[] = [];
  const gone = await collectable(dir, { runDir }).catch(() => []);
  for (const { id } of gone) {
    if (signal?.aborted === true) break;
    try {
      await deleteSnapshot(dir, id, { runDir, signal, background: true });
      collected.push(id);
    } catch (error) {
      onNote?.(`${dir}: temporary snapshot ${id}, whose holder has ended, stays for now: ${(error as Error).message}`);
    }
  }
  return collected;
}

async function collectable(dir: string, options: RunDirectoryOption): Promise<ListedSnapshot[]> {
  const gone = (await listSnapshots(dir)).filter((one) => one.gone);
  if (gone.length === 0) return [];
  const attached = await attachmentsOf(dir, options);
  return gone.filter((one) => attached.every(({ snapshot }) => snapshot !== one.id));
}
