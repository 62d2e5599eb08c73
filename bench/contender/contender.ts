// SPDX-License-Identifier: Apache-2.0
// Who takes part: something that shows a disk as a loop device with direct I/O and sectors of 4 KiB.
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/exec/run.js';

export interface Contender {
  readonly device: string;
  /** What the disk takes on the host, after everything was written back. */
  hostBytes(): Promise<number>;
  /** Back to how it was when made, or when the base was sealed. The device may be another one. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** What to make of it before it is measured. */
export interface Preparation {
  name: string;
  /** `empty`: nothing is written. `full`: every block. `base`: every block, in a layer below the top; `part`: and ¼ of them again, above it. */
  content: 'empty' | 'full' | 'base' | 'part';
  make(folder: string, sizeBytes: number, content: Preparation['content']): Promise<Contender>;
}

export async function newFolder(parent: string): Promise<string> {
  const folder = join(parent, randomUUID().slice(0, 8));
  await mkdir(folder);
  return folder;
}

export async function attachLoop(file: string, directIo = true): Promise<string> {
  const how = directIo ? ['--direct-io=on', '--sector-size', '4096'] : [];
  return (await run('losetup', ['--find', '--show', ...how, file])).stdout.trim();
}

export async function detachLoop(device: string): Promise<void> {
  await run('losetup', ['--detach', device]);
}
