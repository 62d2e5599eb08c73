// SPDX-License-Identifier: Apache-2.0
// What the file system in an image does not use: of a mounted one from the kernel (GETFSMAP: ext4 and xfs), of an ext4 that is
// not mounted from its bitmaps. Whatever cannot be had is "not known", with the reason.
import { open } from 'node:fs/promises';

import type { Attachment } from '../../attach/attachments.js';
import { reachableMounts } from '../../attach/mounts.js';
import { run } from '../../exec/run.js';
import { nativeFile } from '../../native/binding.js';
import { native } from '../../native/index.js';
import { parseSuperblock, SUPERBLOCK_BYTES } from '../superblock.js';
import { ext4FreeExtents, type ReadDisk } from './ext4-free.js';
import { addRange, type Extent } from './extent.js';

export type FreeSpace = { extents: Extent[]; why: null } | { extents: null; why: string };

export async function freeSpace(
  dir: string,
  live: Attachment | null,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<FreeSpace> {
  const mountPoint = live === null || live.devno === null ? undefined : (await reachableMounts(live.devno))[0]?.mountPoint;
  if (mountPoint !== undefined) return freeOfMounted(mountPoint, options);
  if (live !== null) return live.device === null ? unknown('it is attached without a device') : withDevice(live.device, freeOnDisk);
  await using reader = await native.openReader(dir);
  return await freeOnDisk((offset, length) => reader.read(offset, Math.min(length, Math.max(0, reader.size - offset))));
}

function unknown(why: string): FreeSpace {
  return { extents: null, why };
}

/** The free extents of a mounted ext4 or xfs, in order. */
async function freeOfMounted(mountPoint: string, options: { signal?: AbortSignal | undefined }): Promise<FreeSpace> {
  const { exitCode, stdout, stderr } = await run(nativeFile('ploop-fsctl'), ['free', mountPoint], { accept: [0, 1], ...options });
  if (exitCode !== 0) return unknown(stderr.trim().replace(/^\w+: /, ''));
  return { extents: parseExtents(stdout), why: null };
}

function parseExtents(text: string): Extent[] {
  const extents: [number, number][] = [];
  for (const line of text.split('\n')) {
    const [start, length] = line.split(' ').map(Number);
    if (line === '' || start === undefined || length === undefined) continue;
    addRange(extents, start, start + length);
  }
  return extents.sort((a, b) => a[0] - b[0]);
}

async function withDevice(device: string, work: (read: ReadDisk) => Promise<FreeSpace>): Promise<FreeSpace> {
  const file = await open(device, 'r');
  try {
    return await work(async (offset, length) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await file.read(buffer, 0, length, offset);
      return buffer.subarray(0, bytesRead);
    });
  } finally {
    await file.close();
  }
}

async function freeOnDisk(read: ReadDisk): Promise<FreeSpace> {
  const head = await read(0, SUPERBLOCK_BYTES);
  const type = head.length < SUPERBLOCK_BYTES ? undefined : parseSuperblock(head)?.type;
  if (type === undefined) return unknown('it holds no file system that ploop knows');
  if (type !== 'ext4') return unknown(`the free space of an ${type} is known only while it is mounted`);
  const extents = await ext4FreeExtents(read);
  if (extents === null) return unknown('the file system was not unmounted in order (or has a layout that ploop does not read)');
  return { extents, why: null };
}
