// SPDX-License-Identifier: Apache-2.0
// qcow2 with sub-clusters, shown as a file by qemu-storage-daemon's FUSE export, with the same loop set-up on top.
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../src/exec/run.js';
import { fill, scatter } from '../fio.js';
import { attachLoop, type Contender, detachLoop, newFolder, type Preparation } from './contender.js';

const QUICK = 'cache.direct=on,aio=io_uring';
/** `PLOOP_BENCH_QEMU` names a directory with another qemu-img and qemu-storage-daemon. */
function qemu(program: string): string {
  const folder = process.env['PLOOP_BENCH_QEMU'] ?? '';
  return folder === '' ? program : join(folder, program);
}

/** With QEMU 7.2 a file system lasts only on this, and on a loop device without direct I/O. */
const SAFE = 'cache.direct=off,aio=threads';

export interface Export {
  device: string;
  /** Of qemu-storage-daemon. */
  pid: number;
  close(): Promise<void>;
}

export async function qcow2(parent: string, sizeBytes: number, content: Preparation['content']): Promise<Contender> {
  const folder = await newFolder(parent);
  const [base, top] = [join(folder, 'base.qcow2'), join(folder, 'top.qcow2')];
  const layered = content === 'base' || content === 'part';
  const create = async (file: string, backing: readonly string[]): Promise<void> => {
    await rm(file, { force: true });
    await createQcow2(file, sizeBytes, backing);
  };
  const open = async (): Promise<Export> => {
    await create(top, layered ? ['-b', base, '-F', 'qcow2'] : []);
    const opened = await exported(folder, top, layered ? base : null);
    if (content === 'full') await fill(opened.device);
    if (content === 'part') await scatter(opened.device, sizeBytes / 4, 1);
    return opened;
  };
  if (layered) {
    await create(base, []);
    const below = await exported(folder, base, null);
    await fill(below.device).finally(() => below.close());
  }
  let now = await open();
  return {
    get device() {
      return now.device;
    },
    hostBytes: async () => {
      await run('sync', [now.device, top]);
      const files = await Promise.all((layered ? [base, top] : [top]).map((file) => stat(file)));
      return files.reduce((sum, { blocks }) => sum + blocks * 512, 0);
    },
    reset: async () => {
      await now.close();
      now = await open();
    },
    close: async () => {
      await now.close();
      await rm(folder, { recursive: true });
    },
  };
}

export async function createQcow2(file: string, sizeBytes: number, more: readonly string[] = []): Promise<void> {
  await run(qemu('qemu-img'), ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=128k,extended_l2=on', ...more, file, String(sizeBytes)]);
}

function blockdev(node: string, file: string, { backing, cache }: { backing: string | null; cache: string }): string[] {
  const options = `node-name=${node},file=${node}-file,discard=unmap${backing === null ? '' : `,backing=${backing}`}`;
  return [
    '--blockdev',
    `driver=file,node-name=${node}-file,filename=${file},${cache},discard=unmap`,
    '--blockdev',
    `driver=qcow2,${options}`,
  ];
}

/** safe: slower, and what was written is read again: for more than raw speed. */
export async function exported(folder: string, file: string, base: string | null, safe = false): Promise<Export> {
  const cache = safe ? SAFE : QUICK;
  const [mountPoint, pidFile] = [join(folder, 'export'), join(folder, 'pid')];
  await writeFile(mountPoint, '');
  await run(qemu('qemu-storage-daemon'), [
    ...(base === null ? [] : blockdev('base', base, { backing: null, cache })),
    ...blockdev('disk', file, { backing: base === null ? null : 'base', cache }),
    '--export',
    `type=fuse,id=export,node-name=disk,mountpoint=${mountPoint},writable=on`,
    '--daemonize',
    '--pidfile',
    pidFile,
  ]);
  const pid = Number(await readFile(pidFile, 'utf8'));
  const device = await attachLoop(mountPoint, !safe);
  const close = async (): Promise<void> => {
    await detachLoop(device);
    process.kill(pid, 'SIGTERM');
    while (isAlive(pid)) await sleep(20);
  };
  return { device, pid, close };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
