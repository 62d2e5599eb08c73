// SPDX-License-Identifier: Apache-2.0
// A mounted ext4 that may use less than its disk has: the kernel keeps the rest in reserve (`reserved_clusters`), from root, too.
// Nothing is allocated or written for it, so the host spends nothing, and check, trim, packing and snapshots see none of it. The
// kernel forgets it at unmount; what it was is kept in the file system, with the size of the disk that it was given for.
import { readFile, realpath, stat, statfs, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

import { formatDevno } from '../attach/devno.js';
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { nativeFile } from '../native/binding.js';
import { formatSize } from '../units.js';

export interface LimitedDisk {
  mountPoint: string;
  /** Of the disk: a limit is given for one size, and void with any other. */
  sizeBytes: number;
}

const MIB = 1024 * 1024;

/** What the file system may use of its disk, its own metadata included; null: all. */
export async function fileSystemLimit({ mountPoint, sizeBytes }: LimitedDisk): Promise<number | null> {
  const { stdout } = await run(nativeFile('ploop-fsctl'), ['note', mountPoint]);
  const [limitBytes, ofBytes] = stdout.trim().split('/').map(Number);
  return Number.isSafeInteger(limitBytes) && ofBytes === sizeBytes ? (limitBytes as number) : null;
}

/** INVALID_ARGUMENT with `details.minSizeBytes` when the files need more; null takes the limit away. */
export async function limitFileSystem(disk: LimitedDisk, limitBytes: number | null): Promise<void> {
  const reserve = await reserveOf(disk);
  if (limitBytes !== null) await checkRoom(disk, limitBytes, reserve);
  const text = limitBytes === null ? '' : `${limitBytes}/${disk.sizeBytes}`;
  await run(nativeFile('ploop-fsctl'), ['note', disk.mountPoint, text]);
  await reserve.set(limitBytes === null ? 0 : disk.sizeBytes - limitBytes);
}

/** What the limit is that counts from the mount on; null: there is none. */
export async function restoreLimit(disk: LimitedDisk): Promise<number | null> {
  const limitBytes = await fileSystemLimit(disk);
  if (limitBytes !== null) await (await reserveOf(disk)).set(disk.sizeBytes - limitBytes);
  return limitBytes;
}

interface Reserve {
  bytes: number;
  /** What can be free to everybody at most. */
  availableBytes: number;
  set(bytes: number): Promise<void>;
}

/** Beyond what ext4 keeps by itself: 2 % and 4096 blocks at most. */
async function reserveOf({ mountPoint, sizeBytes }: LimitedDisk): Promise<Reserve> {
  const [{ dev }, { bsize, bavail }] = await Promise.all([stat(mountPoint), statfs(mountPoint)]);
  const name = basename(await realpath(`/sys/dev/block/${formatDevno(dev)}`));
  const path = `/sys/fs/ext4/${name}/reserved_clusters`;
  const own = Math.min(4096, Math.floor(sizeBytes / bsize / 50));
  const now = Number(await readFile(path, 'utf8').catch((error: unknown) => refused(mountPoint, error)));
  const bytes = Math.max(0, now - own) * bsize;
  const set = async (to: number): Promise<void> => {
    await writeFile(path, String(own + Math.ceil(to / bsize))).catch((error: unknown) => refused(mountPoint, error));
  };
  return { bytes, availableBytes: bavail * bsize + bytes, set };
}

function refused(mountPoint: string, error: unknown): never {
  const { code, message } = error as NodeJS.ErrnoException;
  const why = `the file system on ${mountPoint} can not be limited: ${code ?? message}`;
  if (code === 'ENOENT') throw new PloopError('UNSUPPORTED', why, { hint: 'Only a mounted ext4 can be.', cause: error });
  throw new PloopError('NOT_PERMITTED', why, { hint: 'Run the command as root, on the host.', cause: error });
}

async function checkRoom(disk: LimitedDisk, limitBytes: number, reserve: Reserve): Promise<void> {
  const minSizeBytes = Math.ceil((disk.sizeBytes - reserve.availableBytes) / MIB) * MIB;
  if (limitBytes >= minSizeBytes) return;
  throw new PloopError(
    'INVALID_ARGUMENT',
    `limit: the files on ${disk.mountPoint} and the file system itself need ${formatSize(minSizeBytes)}, not ${formatSize(limitBytes)}`,
    { hint: `The smallest possible is ${minSizeBytes} bytes. Deleting files makes it smaller.`, details: { minSizeBytes } },
  );
}
