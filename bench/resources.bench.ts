// SPDX-License-Identifier: Apache-2.0
// What attached images cost the host: memory of keeper and worker (RSS counts shared pages in each, PSS divides them), processor
// time and wake-ups, idle and under a load, at several numbers of images at a time.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachImage, type AttachResult, detachAttachment } from '../src/attach/ploopd.js';
import { native } from '../src/native/index.js';
import { fio } from './fio.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';

const SIZE_BYTES = 10 * 2 ** 30;
/** After this long without a request, buffers have been given back. */
const QUIET_MS = 5000;
const WATCH_MS = 5000;
/** Of 4 KiB writes: to one image, and to many together. */
const LOAD_BYTES = 2 ** 30;
const LOAD_OF_MANY_BYTES = 2 ** 28;

interface Cost {
  rssMib: number;
  pssMib: number;
  wakeUps: number;
  cpuMs: number;
}

/** cpuMs: while it was watched. */
interface Watched extends Cost {
  cpuMsAtEnd: number;
}

interface Figures {
  images: number;
  idle: Watched;
  /** After the load. */
  loaded: Cost;
  loadCpuUsPerRequest: number;
}

export async function bench(options: BenchOptions): Promise<Report> {
  const all: Figures[] = [];
  for (const count of options.counts) all.push(await withWorkshop(({ folder, runDir }) => measure(folder, { runDir, count })));
  const mib = (value: number): string => value.toFixed(2);
  const rows = all.flatMap(({ images, idle, loaded, loadCpuUsPerRequest }) => [
    [`${images} idle`, mib(idle.pssMib), mib(idle.rssMib), (idle.wakeUps / (WATCH_MS / 1000)).toFixed(2), idle.cpuMs.toFixed(1)],
    [`${images} after ${loadText(images)}`, mib(loaded.pssMib), mib(loaded.rssMib), '', `${loadCpuUsPerRequest.toFixed(1)} µs a request`],
  ]);
  return {
    title: 'Memory and processor of an attached image (keeper and worker together, mean of all)',
    columns: ['images', 'PSS, MiB', 'RSS, MiB', 'wake-ups a second', `CPU, ms in ${WATCH_MS / 1000} s`],
    rows,
    figures: all,
  };
}

function loadBytes(images: number): number {
  return images === 1 ? LOAD_BYTES : LOAD_OF_MANY_BYTES;
}

function loadText(images: number): string {
  return `${loadBytes(images) / 2 ** 20} MiB of 4 KiB random writes over ${images === 1 ? '10 GiB' : 'all of them'}, QD32`;
}

async function measure(folder: string, { runDir, count }: { runDir: string; count: number }): Promise<Figures> {
  const attached: AttachResult[] = [];
  try {
    for (let at = 0; at < count; at++) {
      const dir = join(folder, `image-${at}`);
      await native.create(dir, { size: SIZE_BYTES });
      attached.push(await attachImage(dir, { runDir, sectorSizeBytes: 4096 }));
    }
    await sleep(QUIET_MS);
    const idle = await watch(attached);
    const devices = attached.map(({ device }) => device ?? '').join(':');
    await fio(devices, ['rw=randwrite', 'bs=4k', 'iodepth=32', `io_size=${loadBytes(count)}`]);
    const loaded = await costOf(attached);
    const spent = (loaded.cpuMs - idle.cpuMsAtEnd) * count;
    return { images: count, idle, loaded, loadCpuUsPerRequest: (spent * 1000) / (loadBytes(count) / 4096) };
  } finally {
    for (const one of attached) await detachAttachment(one, { runDir });
  }
}

async function watch(attached: readonly AttachResult[]): Promise<Watched> {
  const before = await costOf(attached);
  await sleep(WATCH_MS);
  const after = await costOf(attached);
  return { ...after, wakeUps: after.wakeUps - before.wakeUps, cpuMs: after.cpuMs - before.cpuMs, cpuMsAtEnd: after.cpuMs };
}

/** Mean of the images. */
async function costOf(attached: readonly AttachResult[]): Promise<Cost> {
  const total: Cost = { rssMib: 0, pssMib: 0, wakeUps: 0, cpuMs: 0 };
  for (const { keeper, worker } of attached) {
    for (const pid of [keeper, worker]) {
      const memory = await fieldsOf(pid, 'smaps_rollup');
      const status = await fieldsOf(pid, 'status');
      total.rssMib += (memory.get('Rss') ?? Number.NaN) / 1024 / attached.length;
      total.pssMib += (memory.get('Pss') ?? Number.NaN) / 1024 / attached.length;
      total.wakeUps += (status.get('voluntary_ctxt_switches') ?? Number.NaN) / attached.length;
    }
  }
  for (const one of attached) total.cpuMs += (await cpuMsOf(one)) / attached.length;
  return total;
}

async function fieldsOf(pid: number, file: string): Promise<Map<string, number>> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8');
  return new Map([...text.matchAll(/^(\w+):\s+(\d+)/gm)].map(([, name = '', value = '']) => [name, Number(value)]));
}

/** Time on a processor, both processes, from the scheduler's own account. */
async function cpuMsOf({ keeper, worker }: AttachResult): Promise<number> {
  const times = await Promise.all([keeper, worker].map((pid) => readFile(`/proc/${pid}/schedstat`, 'utf8')));
  return times.reduce((sum, text) => sum + Number(text.split(' ')[0]) / 1e6, 0);
}
