// SPDX-License-Identifier: Apache-2.0
// In the guest: one attached image, whichever way its device is made, for the scripts beside this one.
import { execFile, type ChildProcess } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment, type Attachment } from '../../../src/attach/attachments.js';
import { control } from '../../../src/attach/control.js';
import { PloopError } from '../../../src/errors.js';

export const MIB = 1024 * 1024;

export async function attachment(dir: string): Promise<Attachment> {
  const found = await findAttachment(dir);
  if (found === null) throw new Error(`${dir} is not attached`);
  return found;
}

const ATTEMPTS = 600;

/** Until it is so; the guest is slow, so attempts are counted, and generously. */
export async function until(what: () => Promise<boolean>, pauseMs = 200): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await what().catch(() => false)) return;
    await sleep(pauseMs);
  }
  throw new Error(`in vain: ${what.toString()}`);
}

/** Requests that have begun and not ended. */
export async function inflight(dir: string): Promise<number> {
  return (await control(await attachment(dir), 'stats', {})).inflight;
}

/** Kills the worker and waits until the next one serves. */
export async function killWorker(dir: string): Promise<void> {
  const { worker, restarts } = await attachment(dir);
  process.kill(worker, 'SIGKILL');
  await until(async () => {
    const now = await attachment(dir);
    return now.state === 'running' && now.restarts > restarts;
  });
}

interface FioResult {
  status: number;
  errors: number;
  bytes: number;
  /** Of the writes; for people, as times in a guest mean little. */
  slowestMs: number;
}

export interface Fio {
  child: ChildProcess;
  /** What fio counted at its end. */
  result: Promise<FioResult>;
}

/** Random writes below a directory or on a device, each of them read again and compared at the end. */
export function startFio(place: string, options: { sizeMib: number; depth?: number; kib?: number }): Fio {
  const where = place.startsWith('/dev/') ? `--filename=${place}` : `--directory=${place}`;
  const what = [`--size=${options.sizeMib}M`, '--rw=randwrite', `--bs=${options.kib ?? 4}k`, '--ioengine=libaio', '--direct=1'];
  const how = [`--iodepth=${options.depth ?? 16}`, '--fallocate=none'];
  const verify = ['--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--output-format=json'];
  let settle: (value: FioResult) => void;
  const result = new Promise<FioResult>((resolve) => (settle = resolve));
  const child = execFile('fio', ['--name=v', where, ...what, ...how, ...verify], { maxBuffer: 16 * MIB }, (error, stdout) => {
    const jobs = stdout.includes('{') ? (JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioOutput).jobs : [];
    settle({
      status: error === null ? 0 : Number(error.code ?? 255),
      errors: jobs.reduce((sum, job) => sum + job.error + (job.total_err ?? 0), 0),
      bytes: jobs.reduce((sum, job) => sum + job.write.io_bytes, 0),
      slowestMs: Math.round(Math.max(0, ...jobs.map((job) => job.write.clat_ns.max)) / 1e6),
    });
  });
  return { child, result };
}

interface FioOutput {
  jobs: { error: number; total_err?: number; write: { io_bytes: number; clat_ns: { max: number } } }[];
}

export async function queue(device: string, name: string): Promise<number> {
  return Number(await readFile(`/sys/block/${device.replace('/dev/', '')}/queue/${name}`, 'utf8'));
}

export async function sectorsBytes(device: string): Promise<number> {
  return Number(await readFile(`/sys/block/${device.replace('/dev/', '')}/size`, 'utf8')) * 512;
}

/** Of all layers: what the host spends. */
export async function hostBytes(dir: string): Promise<number> {
  const names = await readdir(join(dir, 'layers'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dir, 'layers', name))).blocks * 512));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The code of the refusal; "" when there was none. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => '',
    (error: unknown) => (error instanceof PloopError ? error.code : String(error)),
  );
}

/** How often the kernel's log has this. */
export async function kernelSaid(pattern: RegExp): Promise<number> {
  const { stdout } = await new Promise<{ stdout: string }>((resolve) =>
    execFile('dmesg', { maxBuffer: 16 * MIB }, (_error, text) => resolve({ stdout: text })),
  );
  return stdout.split('\n').filter((line) => pattern.test(line)).length;
}

export async function capabilities(pid: number): Promise<{ effective: string; seccomp: string }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return { effective: /^CapEff:\s*(\S+)$/m.exec(status)?.[1] ?? '', seccomp: /^Seccomp:\s*(\S+)$/m.exec(status)?.[1] ?? '' };
}
