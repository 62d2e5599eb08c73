// SPDX-License-Identifier: Apache-2.0
// Whose are the blocks that an image still costs: the layer's map says which clusters it holds, ext4's tools (dumpe2fs, debugfs)
// whose the blocks in them are. Smear is everything but what df counts as used, so this says what it consists of.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findAttachment } from '../../src/attach/attachments.js';
import { BLOCKS_PER_PAGE, spacePages } from '../../src/attach/space.js';
import { run } from '../../src/exec/run.js';
import { freeSpace } from '../../src/filesystem/space/free.js';

const FS_BLOCK = 4096;
const CLUSTER_BLOCKS = 64;
const LOOKS = 5;

/** Bytes of the clusters that the image holds, by what they are to ext4. */
export interface Owners {
  /** What df counts: data, directories, extent blocks. */
  files: number;
  journal: number;
  /** Superblocks, group descriptors, bitmaps, inode tables. */
  tables: number;
  /** Free blocks that cost space: in clusters with a block of the journal, of the tables, of a directory, of a file. */
  freeBesideJournal: number;
  freeBesideTables: number;
  freeBesideDirectories: number;
  freeBesideFiles: number;
  /** In clusters without anything: freed since they were trimmed. */
  freeAlone: number;
  /** Header, journal and map of the layer, and what the host's file system rounds up. */
  image: number;
}

/** Of a block; 0: anything else. */
const JOURNAL = 1;
const TABLE = 2;
const DIRECTORY = 3;

export interface OwnersOptions {
  dir: string;
  runDir: string;
  mountPoint: string;
  device: string;
  hostBytes: number;
  /** A cluster with any data costs all of itself, as the discard policy `cluster` has it. */
  whole: boolean;
}

export async function spaceOwners({ dir, runDir, mountPoint, device, hostBytes, whole }: OwnersOptions): Promise<Owners> {
  const live = await findAttachment(dir, { runDir });
  const kinds = await blockKinds(device, mountPoint);
  const { extents } = await freeSpace(dir, live, {});
  const free = new Uint8Array(kinds.length);
  for (const [from, to] of extents ?? []) free.fill(1, from / FS_BLOCK, to / FS_BLOCK);
  const owners: Owners = {
    files: 0,
    journal: 0,
    tables: 0,
    freeBesideJournal: 0,
    freeBesideTables: 0,
    freeBesideDirectories: 0,
    freeBesideFiles: 0,
    freeAlone: 0,
    image: 0,
  };
  for await (const { page, masks, blockSizeBytes } of spacePages(dir, live)) {
    const ratio = blockSizeBytes / FS_BLOCK;
    for (let cluster = 0; cluster < BLOCKS_PER_PAGE / CLUSTER_BLOCKS; cluster++) {
      const owned = masks.subarray(cluster * 8, cluster * 8 + 8);
      if (owned.every((byte) => byte === 0)) continue;
      const first = (page * BLOCKS_PER_PAGE + cluster * CLUSTER_BLOCKS) * ratio;
      const held = (at: number): boolean => {
        const block = Math.floor((at - first) / ratio);
        return whole || ((owned[block >> 3] ?? 0) & (1 << (block & 7))) !== 0;
      };
      addCluster(owners, { first, end: Math.min(first + CLUSTER_BLOCKS * ratio, kinds.length), held, kinds, free });
    }
  }
  owners.image = hostBytes - Object.values(owners).reduce((sum: number, bytes: number) => sum + bytes, 0);
  return owners;
}

interface Cluster {
  first: number;
  end: number;
  held: (block: number) => boolean;
  kinds: Uint8Array;
  free: Uint8Array;
}

function addCluster(owners: Owners, { first, end, held, kinds, free }: Cluster): void {
  const count = [0, 0, 0, 0];
  let unused = 0;
  for (let at = first; at < end; at++) {
    if (!held(at)) continue;
    if (free[at] === 1) unused++;
    else count[kinds[at] ?? 0] = (count[kinds[at] ?? 0] ?? 0) + 1;
  }
  const [other = 0, journal = 0, tables = 0, directories = 0] = count;
  owners.files += (other + directories) * FS_BLOCK;
  owners.journal += journal * FS_BLOCK;
  owners.tables += tables * FS_BLOCK;
  owners[besideWhat({ other, journal, tables, directories })] += unused * FS_BLOCK;
}

function besideWhat(count: { other: number; journal: number; tables: number; directories: number }): keyof Owners {
  if (count.journal > 0) return 'freeBesideJournal';
  if (count.tables > 0) return 'freeBesideTables';
  if (count.directories > 0) return 'freeBesideDirectories';
  return count.other > 0 ? 'freeBesideFiles' : 'freeAlone';
}

async function blockKinds(device: string, mountPoint: string): Promise<Uint8Array> {
  const stdout = await layoutOf(device);
  const blocks = Number(/^Block count:\s+(\d+)/m.exec(stdout)?.[1] ?? 0);
  const kinds = new Uint8Array(blocks);
  const tables = /(?:superblock at|descriptors at|GDT blocks at|bitmap at|Inode table at) (\d+)(?:-(\d+))?/g;
  for (const [, from, to = from] of stdout.matchAll(tables)) kinds.fill(TABLE, Number(from), Number(to) + 1);
  for (const block of await blocksOf(device, '<8>')) kinds[block] = JOURNAL;
  const folders = (await readdir(mountPoint, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  for (const folder of ['', ...folders]) for (const block of await blocksOf(device, join('/', folder))) kinds[block] = DIRECTORY;
  return kinds;
}

/** The kernel changes a bitmap and its checksum one after the other, and dumpe2fs may look in between: then again. */
async function layoutOf(device: string): Promise<string> {
  for (let again = LOOKS - 1; ; again--) {
    try {
      return (await run('dumpe2fs', [device])).stdout;
    } catch (error) {
      if (again === 0) throw error;
    }
  }
}

async function blocksOf(device: string, file: string): Promise<number[]> {
  const { stdout } = await run('debugfs', ['-R', `blocks ${file}`, device]);
  return stdout.trim().split(/\s+/).map(Number);
}
