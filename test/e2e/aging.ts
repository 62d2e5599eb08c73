// SPDX-License-Identifier: Apache-2.0
// An aged file system for the tests of packing: files of mixed sizes come, grow, change and go, generation after generation.
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';
import { randomNumbers } from '../helpers/random.js';

const KIB = 1024;
const DIRECTORIES = 24;

export interface AgingOptions {
  seed: number;
  generations: number;
  /** Of the file system, in each generation and in the end. */
  fullPercent: number;
  finalPercent: number;
}

/** Answers the files that are left. */
export async function ageFileSystem(root: string, options: AgingOptions): Promise<string[]> {
  const random = randomNumbers(options.seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const blob = Buffer.from(Array.from({ length: 1024 * KIB }, () => below(256)));
  const files: string[] = [];
  let made = 0;
  const usedPercent = (): number => {
    const { blocks, bfree } = statfsSync(root);
    return 100 - (100 * bfree) / blocks;
  };
  const size = (): number => {
    const kind = random();
    if (kind < 0.6) return 200 + below(32 * KIB);
    return kind < 0.9 ? 32 * KIB + below(256 * KIB) : 256 * KIB + below(768 * KIB);
  };
  const make = (): void => {
    const directory = join(root, `d${below(DIRECTORIES)}`);
    mkdirSync(directory, { recursive: true });
    const file = join(directory, `f${made++}`);
    const bytes = size();
    const from = below(blob.length - bytes);
    // Some can be executed: those are moved under a lease.
    writeFileSync(file, blob.subarray(from, from + bytes), { mode: made % 7 === 0 ? 0o755 : 0o644 });
    files.push(file);
  };
  const remove = (): void => {
    const [file] = files.splice(below(files.length), 1);
    if (file !== undefined) unlinkSync(file);
  };
  for (let generation = 0; generation < options.generations; generation++) {
    while (usedPercent() < options.fullPercent) make();
    for (let left = Math.floor(files.length * 0.4); left > 0; left--) remove();
    for (const file of files) {
      const what = random();
      if (what < 0.1) appendFileSync(file, blob.subarray(0, 1 + below(64 * KIB)));
      else if (what < 0.2) overwrite(file, blob.subarray(0, 4 * KIB));
    }
    await run('sync', ['-f', root]);
  }
  while (usedPercent() > options.finalPercent) remove();
  await run('sync', ['-f', root]);
  return files;
}

/** What must not change: content, mode, times of content and inode. */
export function fingerprints(files: readonly string[]): Map<string, string> {
  const one = (file: string): string => {
    const { mode, size, mtimeNs, ctimeNs, ino } = statSync(file, { bigint: true });
    const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
    return [digest, mode, size, mtimeNs, ctimeNs, ino].join(' ');
  };
  return new Map(files.map((file) => [file, one(file)]));
}

function overwrite(file: string, bytes: Buffer): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, 0);
  closeSync(fd);
}
