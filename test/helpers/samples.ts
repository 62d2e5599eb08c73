// SPDX-License-Identifier: Apache-2.0
// Images of every kind that the format knows (csrc/tools/sample-images.c), and what their disks hold.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { nativeFile } from '../../src/native/binding.js';
import { run } from '../../src/exec/run.js';

export const SAMPLES = [
  'clean-4k',
  'clean-16k',
  'clean-64k',
  'unclean',
  'torn',
  'wrapped',
  'snapshots',
  'checksums',
  'branches',
  'temporary',
  'large',
] as const;

/** [offset, length, byte]; everything else is zeros. */
type Run = [number, number, number];

export interface SampleDisk {
  /** null = the top */
  snapshot: string | null;
  size: number;
  runs: Run[];
}

export async function writeSamples(directory: string): Promise<void> {
  await run(nativeFile('sample-images'), [directory]);
}

export function sampleDisks(directory: string, name: string): SampleDisk[] {
  return (JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')) as { disks: SampleDisk[] }).disks;
}

/** How much of a disk is looked at; beyond it there are only zeros. */
export const LOOK_BYTES = 64 * 2 ** 20;

export function expectedBytes({ size, runs }: SampleDisk): Buffer {
  const bytes = Buffer.alloc(Math.min(size, LOOK_BYTES));
  for (const [offset, length, byte] of runs) bytes.fill(byte, offset, offset + length);
  return bytes;
}
