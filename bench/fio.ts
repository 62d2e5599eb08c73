// SPDX-License-Identifier: Apache-2.0
// One fio job on one device.
import { run } from '../src/exec/run.js';

export interface FioResult {
  /** Reads, writes and trims a second. */
  iops: number;
  bytes: number;
  seconds: number;
  meanUs: number;
  p99Us: number;
}

interface FioDirection {
  iops: number;
  io_bytes: number;
  total_ios: number;
  runtime: number;
  clat_ns: { mean: number; percentile?: Record<string, number> };
}

/** args: without the leading dashes, `rw=randread`. */
export async function fio(device: string, args: readonly string[]): Promise<FioResult> {
  const common = ['name=bench', `filename=${device}`, 'ioengine=io_uring', 'direct=1', 'output-format=json', 'group_reporting'];
  const { stdout } = await run(
    'fio',
    [...common, ...args].map((arg) => `--${arg}`),
  );
  const job = (JSON.parse(stdout) as { jobs: Record<'read' | 'write' | 'trim', FioDirection>[] }).jobs[0];
  if (!job) throw new Error('fio reported no job');
  const parts = [job.read, job.write, job.trim].filter(({ total_ios: ios }) => ios > 0);
  const sum = (of: (part: FioDirection) => number): number => parts.reduce((total, part) => total + of(part), 0);
  const ios = sum((part) => part.total_ios);
  return {
    iops: sum((part) => part.iops),
    bytes: sum((part) => part.io_bytes),
    seconds: Math.max(...parts.map((part) => part.runtime)) / 1000,
    meanUs: sum((part) => part.clat_ns.mean * part.total_ios) / ios / 1000,
    p99Us: Math.max(...parts.map((part) => part.clat_ns.percentile?.['99.000000'] ?? 0)) / 1000,
  };
}

/** Writes the whole device once, from its beginning to its end. */
export async function fill(device: string): Promise<void> {
  await fio(device, ['rw=write', 'bs=1M', 'iodepth=4', 'end_fsync=1']);
}

/** Is what was written there when it is read back? As many requests at a time as `depth`. */
export async function verifies(device: string, depth: number): Promise<boolean> {
  const args = [
    'rw=randwrite',
    'bs=4k',
    `iodepth=${depth}`,
    'size=16M',
    'verify=crc32c',
    'verify_fatal=1',
    'ioengine=io_uring',
    'direct=1',
  ];
  const { exitCode } = await run(
    'fio',
    ['name=verify', `filename=${device}`, ...args].map((arg) => `--${arg}`),
    { accept: 'any' },
  );
  return exitCode === 0;
}

/** Overwrites scattered 4 KiB blocks, no block twice. */
export async function scatter(device: string, bytes: number, seed: number): Promise<void> {
  await fio(device, ['rw=randwrite', 'bs=4k', 'iodepth=32', `io_size=${bytes}`, `randseed=${seed}`, 'end_fsync=1']);
}
