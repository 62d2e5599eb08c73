// SPDX-License-Identifier: Apache-2.0
// Makes a file system as large as its device has become.
import { readFile } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { prepareExt4 } from './check.js';
import type { FileSystemType } from './type.js';

export interface GrowOptions {
  type: FileSystemType;
  /** Where it is mounted. ext4 can do without, xfs cannot. */
  mountPoint?: string | undefined;
  /** Looked at before and between: a resize2fs that is killed in the middle leaves a damaged file system. */
  signal?: AbortSignal | undefined;
}

const CAP_SYS_RESOURCE = 24n;

export async function growFileSystem(device: string, options: GrowOptions): Promise<void> {
  const { type, mountPoint, signal } = options;
  if (type === 'xfs') {
    if (mountPoint === undefined) throw new PloopError('INVALID_ARGUMENT', 'grow: xfs grows only while it is mounted');
    checkNotInterrupted(device, signal);
    await run('xfs_growfs', ['-d', mountPoint]);
    return;
  }
  if (mountPoint === undefined) await prepareExt4(device, { signal });
  else await checkOnlineGrowth(type);
  checkNotInterrupted(device, signal);
  await run('resize2fs', [device]);
}

function checkNotInterrupted(device: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new PloopError('INTERRUPTED', `interrupted before the file system on ${device} was grown`);
}

/** The kernel lets only CAP_SYS_RESOURCE grow a mounted ext4: to be asked before anything is changed. */
export async function checkOnlineGrowth(type: FileSystemType): Promise<void> {
  if (type !== 'ext4' || (await hasCapability(CAP_SYS_RESOURCE))) return;
  throw new PloopError('NOT_PERMITTED', 'a mounted ext4 grows only with the capability CAP_SYS_RESOURCE, which is missing on this host', {
    hint: 'Unmount the image and resize it then: ploop umount, ploop resize, ploop mount; a container: vzctl stop, vzctl set --diskspace, vzctl start.',
  });
}

async function hasCapability(bit: bigint): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8');
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  return ((BigInt(`0x${mask}`) >> bit) & 1n) === 1n;
}
