// SPDX-License-Identifier: Apache-2.0
// What does a snapshot cost the writes behind it? fio, 4 KiB random writes at depth 32 on the attached device: over a full
// image, and over the same one right after a snapshot. The ceiling is a loop device on a raw file of the same disk.
import { open, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { takeSnapshot } from '../src/attach/operations.js';
import { native } from '../src/native/index.js';
import { run } from '../src/exec/run.js';
import { whileAttached, withWorkshop, type Workshop } from './images.js';
import type { Report } from './report.js';

const SIZE_BYTES = 512 * 1024 * 1024;
const SECONDS = 5;

export async function bench(): Promise<Report> {
  const rows = await withWorkshop(async (workshop) => [
    ['loop on a raw file', ...(await onRawFile(workshop))],
    ...(await onImage(workshop)),
  ]);
  return { title: `4 KiB random writes, depth 32, ${SECONDS} s`, columns: ['device', 'IOPS', 'mean latency', '99 %'], rows };
}

async function onRawFile({ folder }: Workshop): Promise<string[]> {
  const file = join(folder, 'raw');
  await (await open(file, 'wx')).close();
  await truncate(file, SIZE_BYTES);
  const device = (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim();
  try {
    await fill(device);
    return await randomWrites(device);
  } finally {
    await run('losetup', ['--detach', device]);
    await rm(file);
  }
}

async function onImage(workshop: Workshop): Promise<string[][]> {
  const dir = join(workshop.folder, 'image');
  await native.create(dir, { size: SIZE_BYTES });
  return whileAttached(dir, workshop, async (device) => {
    await fill(device);
    const plain = await randomWrites(device);
    await takeSnapshot(dir, { runDir: workshop.runDir });
    return [
      ['image, written before', ...plain],
      ['image, right after a snapshot', ...(await randomWrites(device))],
    ];
  });
}

async function fill(device: string): Promise<void> {
  await fio(device, ['--rw=write', '--bs=1M', '--iodepth=4']);
}

async function randomWrites(device: string): Promise<string[]> {
  const { iops, clat_ns: latency } = await fio(device, [
    '--rw=randwrite',
    '--bs=4k',
    '--iodepth=32',
    '--time_based',
    `--runtime=${SECONDS}`,
  ]);
  const micros = (ns: number): string => `${Math.round(ns / 1000)} µs`;
  return [Math.round(iops).toLocaleString('en'), micros(latency.mean), micros(latency.percentile?.['99.000000'] ?? Number.NaN)];
}

interface FioWrite {
  iops: number;
  clat_ns: { mean: number; percentile?: Record<string, number> };
}

async function fio(device: string, args: string[]): Promise<FioWrite> {
  const common = ['--name=bench', `--filename=${device}`, '--ioengine=io_uring', '--direct=1', '--output-format=json', '--group_reporting'];
  const { stdout } = await run('fio', [...common, ...args]);
  const job = (JSON.parse(stdout) as { jobs: { write: FioWrite }[] }).jobs[0];
  if (!job) throw new Error('fio reported no job');
  return job.write;
}
