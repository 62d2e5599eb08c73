// SPDX-License-Identifier: Apache-2.0
// An image by NBD against nbdkit's file server and qemu-nbd, on the same data: nbdcopy reads all of it from one after the
// other in each round. All servers are processes in sessions of their own, as the host's scheduler groups them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment } from '../src/attach/attachments.js';
import { exportImage, unexportImage } from '../src/attach/exports.js';
import { attachImage, detachAttachment } from '../src/attach/ploopd.js';
import { run } from '../src/exec/run.js';
import { readDescriptor } from '../src/image/descriptor.js';
import { native } from '../src/native/index.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';
import { ratioOf, ratioText, spreadOf } from './statistics.js';

interface Server {
  name: string;
  uri: string;
  pid: number;
  /** Not measured. */
  before?: () => Promise<unknown>;
  end(): Promise<void>;
}

interface Measured {
  name: string;
  mibPerSecond: number[];
  /** Of the server, for a GiB. */
  cpuSeconds: number[];
}

export async function bench(options: BenchOptions): Promise<Report> {
  const measured = await withWorkshop(async ({ folder, runDir }) => {
    const raw = join(folder, 'raw');
    await run('dd', ['if=/dev/urandom', `of=${raw}`, 'bs=1M', `count=${options.sizeBytes / 2 ** 20}`, 'status=none']);
    const servers: Server[] = [];
    try {
      const started = async (server: Promise<Server>): Promise<Server> => servers[servers.push(await server) - 1] ?? server;
      const files = await started(nbdkit(folder, raw));
      const qcow2 = await started(qemuNbd(folder, raw));
      const image = await filled(folder, runDir, raw, options);
      const snapshot = await started(ours(image, 'snapshot', 'then'));
      const now = await started(ours(image, 'now'));
      const layers = await layersOf(image.dir);
      servers.push(cold(files, raw), cold(qcow2, join(folder, 'qcow2')), cold(snapshot, layers.before), cold(now, layers.now));
      servers.push(await besideDevice(folder, runDir, image.dir));
      return await rounds(servers, options);
    } finally {
      for (const server of servers.toReversed()) await server.end();
    }
  });
  const [base, qcow2] = measured;
  return {
    title: `nbdcopy of ${options.sizeBytes / 2 ** 20} MiB over a unix socket`,
    columns: ['server', 'MiB/s', 'of nbdkit file', 'of qemu-nbd qcow2', 'CPU s/GiB'],
    rows: measured.map(({ name, mibPerSecond, cpuSeconds }) => [
      name,
      ratioText(spreadOf(mibPerSecond)),
      ratioText(ratioOf(mibPerSecond, base?.mibPerSecond ?? [])),
      ratioText(ratioOf(mibPerSecond, qcow2?.mibPerSecond ?? [])),
      spreadOf(cpuSeconds).median.toFixed(2),
    ]),
    notes: [
      'Medians of the rounds (least–most). Cold: the page cache has dropped the file before. Beside a device: the cache is bypassed.',
    ],
    figures: measured,
  };
}

async function rounds(servers: readonly Server[], options: BenchOptions): Promise<Measured[]> {
  const measured = servers.map(({ name }): Measured => ({ name, mibPerSecond: [], cpuSeconds: [] }));
  for (const { uri } of servers) await run('nbdcopy', [uri, 'null:']);
  for (let round = 0; round < options.rounds; round++) {
    process.stderr.write(`bench: round ${round + 1} of ${options.rounds}\n`);
    for (const [at, { uri, pid, before: prepare }] of servers.entries()) {
      await prepare?.();
      const before = await cpuSecondsOf(pid);
      const began = performance.now();
      await run('nbdcopy', [uri, 'null:']);
      const seconds = (performance.now() - began) / 1000;
      measured[at]?.mibPerSecond.push(options.sizeBytes / 2 ** 20 / seconds);
      measured[at]?.cpuSeconds.push(((await cpuSecondsOf(pid)) - before) / (options.sizeBytes / 2 ** 30));
    }
  }
  return measured;
}

/** The same server; the page cache drops its file before each measurement. */
function cold(server: Server, file: string): Server {
  const forget = (): Promise<unknown> => run('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
  return { ...server, name: `${server.name}, cold`, before: forget, end: () => Promise.resolve() };
}

/** User and system time; the kernel counts in hundredths. */
async function cpuSecondsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// ---- the servers ----

async function start(name: string, program: string, args: readonly string[], socket: string): Promise<Server> {
  const child = spawn(program, args, { stdio: 'ignore', detached: true });
  const gone = once(child, 'exit');
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`${program} did not start`);
    await sleep(20);
  }
  const end = async (): Promise<void> => {
    child.kill();
    await gone;
  };
  return { name, uri: `nbd+unix:///?socket=${socket}`, pid: child.pid ?? 0, end };
}

function nbdkit(folder: string, raw: string): Promise<Server> {
  const socket = join(folder, 'nbdkit.sock');
  return start('nbdkit file', 'nbdkit', ['--foreground', '--unix', socket, 'file', raw], socket);
}

async function qemuNbd(folder: string, raw: string): Promise<Server> {
  const [qcow2, socket] = [join(folder, 'qcow2'), join(folder, 'qemu.sock')];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  return start('qemu-nbd qcow2', 'qemu-nbd', ['--persistent', '--read-only', '--shared=8', '-f', 'qcow2', '-k', socket, qcow2], socket);
}

interface Image {
  dir: string;
  runDir: string;
  folder: string;
}

/** Its snapshot `then` holds the data once, its present state over again. */
async function filled(folder: string, runDir: string, raw: string, options: BenchOptions): Promise<Image> {
  const image = { dir: join(folder, 'image'), runDir, folder };
  await native.create(image.dir, { size: options.sizeBytes });
  for (const name of ['then', 'fill']) {
    const { uri, end } = await ours(image, name);
    await run('nbdcopy', [raw, uri]);
    await end();
    if (name === 'then') await native.snapshot(image.dir, { name });
  }
  return image;
}

async function ours({ dir, runDir, folder }: Image, name: string, key?: string): Promise<Server> {
  const { uri, snapshot } = await exportImage(dir, { snapshot: key, name, socket: join(folder, `${name}.sock`), runDir });
  const attachment = await findAttachment(dir, { runDir, snapshot: snapshot ?? undefined });
  const end = async (): Promise<void> => void (await unexportImage(dir, { runDir, name }).catch(() => undefined));
  return { name: `ploop, ${name}`, uri, pid: attachment?.worker ?? 0, end };
}

async function layersOf(dir: string): Promise<{ now: string; before: string }> {
  const { top, snapshots } = await readDescriptor(dir);
  const file = (layer = ''): string => join(dir, 'layers', `${layer}.plp`);
  return { now: file(top), before: file(snapshots[0]?.layer) };
}

/** A copy of the image, as a block device on which nothing happens meanwhile. */
async function besideDevice(folder: string, runDir: string, from: string): Promise<Server> {
  const dir = join(folder, 'attached');
  await run('cp', ['--archive', '--sparse=always', from, dir]);
  await native.newId(dir);
  const device = await attachImage(dir, { runDir });
  const server = await ours({ dir, runDir, folder }, 'beside');
  const end = async (): Promise<void> => {
    await server.end();
    await detachAttachment(device, { runDir });
  };
  return { ...server, name: 'ploop, beside a device', end };
}
