// SPDX-License-Identifier: Apache-2.0
// A file system grows old: files of mixed sizes are created, appended to, overwritten and deleted, generation after
// generation, up to a given fill. The same seed makes the same operations.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/exec/run.js';
import { randomNumbers } from '../../test/helpers/random.js';

export interface Aging {
  seed: number;
  generations: number;
  /** Of the file system, at the height of each generation. */
  fill: number;
  /** Of the files of a generation, in the end. */
  deleted: number;
  /** Of the names of new files: another one than that of an earlier run. */
  prefix?: string;
}

export const AGING: Aging = { seed: 1, generations: 10, fill: 0.8, deleted: 0.45 };

const KIB = 1024;
const FILES_PER_FOLDER = 64;

export interface Aged {
  files: number;
  created: number;
  deleted: number;
  changed: number;
}

/** Works in `folder` of a mounted file system; what is there in the end has reached the device. */
export async function age(mountPoint: string, { seed, generations, fill, deleted, prefix = '' }: Aging = AGING): Promise<Aged> {
  const random = randomNumbers(seed);
  const pool = Buffer.alloc(8 * 1024 * KIB);
  for (let at = 0; at < pool.length; at += 4) pool.writeUInt32LE((random() * 2 ** 32) >>> 0, at);
  const bytes = (length: number): Buffer => {
    const start = Math.floor(random() * (pool.length - length));
    return pool.subarray(start, start + length);
  };
  const files = await oldFiles(mountPoint);
  const count = { created: 0, deleted: 0, changed: 0 };
  for (let generation = 0; generation < generations; generation++) {
    while ((await fullness(mountPoint)) < fill) {
      for (let n = 0; n < 32; n++) {
        const path = join(mountPoint, `d${Math.floor(count.created / FILES_PER_FOLDER)}`, `f${prefix}${count.created++}`);
        await mkdir(join(path, '..'), { recursive: true });
        await writeFile(path, bytes(sizeOf(random)));
        files.push(path);
      }
    }
    for (let n = files.length / 10; n > 0; n--) {
      const path = files[Math.floor(random() * files.length)];
      if (path !== undefined) await change(path, bytes(1 + Math.floor(random() * 32 * KIB)), random);
      count.changed++;
    }
    for (let n = Math.floor(files.length * deleted); n > 0; n--) {
      const [path] = files.splice(Math.floor(random() * files.length), 1);
      if (path !== undefined) await rm(path);
      count.deleted++;
    }
    await run('sync', ['-f', mountPoint]);
  }
  return { files: files.length, ...count };
}

/** What an earlier run left grows older. */
async function oldFiles(mountPoint: string): Promise<string[]> {
  const folders = (await readdir(mountPoint)).filter((name) => /^d\d+$/.test(name)).toSorted();
  const lists = await Promise.all(
    folders.map(async (folder) => (await readdir(join(mountPoint, folder))).toSorted().map((name) => join(mountPoint, folder, name))),
  );
  return lists.flat();
}

async function change(path: string, data: Buffer, random: () => number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await file.write(data, 0, data.length, random() < 0.5 ? size : Math.floor(random() * size));
  } finally {
    await file.close();
  }
}

/** Most files are small, most bytes are in large ones. */
function sizeOf(random: () => number): number {
  const kind = random();
  const [least, most] = kind < 0.6 ? [1, 16] : kind < 0.9 ? [16, 256] : [256, 3072];
  return Math.floor((least + random() * (most - least)) * KIB);
}

async function fullness(mountPoint: string): Promise<number> {
  const { blocks, bfree } = await statfs(mountPoint);
  return 1 - bfree / blocks;
}

/** Of all files the workload made, by path. */
export async function checksums(mountPoint: string): Promise<Map<string, string>> {
  const sums = new Map<string, string>();
  const folders = (await readdir(mountPoint)).filter((name) => /^d\d+$/.test(name)).toSorted();
  for (const folder of folders) {
    for (const name of (await readdir(join(mountPoint, folder))).toSorted()) {
      const path = join(folder, name);
      sums.set(
        path,
        createHash('sha256')
          .update(await readFile(join(mountPoint, path)))
          .digest('hex'),
      );
    }
  }
  return sums;
}

/** How many files are missing, new or different. */
export function changedFiles(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): number {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).length;
}
