// SPDX-License-Identifier: Apache-2.0
// Images for benchmarks, in a temporary directory that is gone at the end, whatever happens.
import { open, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { attachImage, detachAttachment } from '../src/attach/ploopd.js';
import { takeSnapshot } from '../src/attach/operations.js';
import { native } from '../src/native/index.js';

export interface Workshop {
  folder: string;
  runDir: string;
}

export async function withWorkshop<T>(work: (workshop: Workshop) => Promise<T>): Promise<T> {
  const folder = await mkdtemp('/var/tmp/p.');
  try {
    return await work({ folder, runDir: join(folder, 'run') });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function whileAttached<T>(dir: string, { runDir }: Workshop, work: (device: string) => Promise<T>): Promise<T> {
  const attached = await attachImage(dir, { runDir });
  try {
    if (attached.device === null) throw new Error('attached without a device');
    return await work(attached.device);
  } finally {
    await detachAttachment(attached, { runDir });
  }
}

/** An image of `layers` layers, each of which owns every layers-th 4 KiB block. */
export async function layeredImage(workshop: Workshop, layers: number, sizeBytes: number): Promise<string> {
  const dir = join(workshop.folder, `depth-${layers}`);
  await native.create(dir, { size: sizeBytes });
  await whileAttached(dir, workshop, async (device) => {
    for (let layer = 0; layer < layers; layer++) {
      await writeBlocks(device, layer, layers, sizeBytes);
      if (layer < layers - 1) await takeSnapshot(dir, { runDir: workshop.runDir });
    }
  });
  return dir;
}

async function writeBlocks(device: string, first: number, step: number, sizeBytes: number): Promise<void> {
  const file = await open(device, 'r+');
  const block = Buffer.alloc(4096, first + 1);
  try {
    for (let offset = first * 4096; offset < sizeBytes; offset += step * 4096) await file.write(block, 0, 4096, offset);
    await file.sync();
  } finally {
    await file.close();
  }
}
