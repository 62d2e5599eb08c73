// SPDX-License-Identifier: Apache-2.0
// Kills under load on the bare device: blockstress (knows every block's content at any time) and fio --verify.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { attachImage, detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { nativeFile } from '../../src/native/binding.js';
import { native } from '../../src/native/index.js';
import type { Places } from '../helpers/scratch.js';
import { addFigures, type Figures, noFigures } from './figures.js';
import { killOften, type KillOptions } from './killer.js';

const MIB = 2 ** 20;
let images = 0;

interface StressReport {
  requests: number;
  errors: number;
  mismatches: number;
  slow: number;
  longestMs: number;
}

export interface Stress {
  /** Lets it finish and compare every block once more. */
  end(): Promise<Figures>;
}

/** Random reads, writes and discards, 32 at a time; `model` is a file that carries the content from one run to the next. */
export function startStress(device: string, settings: { model: string; flush?: number; blocks?: number }): Stress {
  const { model, flush = 500, blocks = 16_384 } = settings;
  const child = spawn(nativeFile('blockstress'), [device, `model=${model}`, `flush=${flush}`, `blocks=${blocks}`], { stdio: 'pipe' });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const ended = new Promise<void>((resolve, reject) => child.once('error', reject).once('close', () => resolve()));
  return {
    async end() {
      child.stdin.end();
      await ended;
      if (said.stderr !== '') process.stderr.write(said.stderr);
      const { requests, errors, mismatches, longestMs } = JSON.parse(said.stdout) as StressReport;
      return { ...noFigures(), requests, ioErrors: errors, verifyErrors: mismatches, longestWaitMs: longestMs };
    },
  };
}

/** Findings of a detached image; [] when it is clean. */
export async function checked(dir: string): Promise<Figures> {
  const { findings } = await native.check(dir);
  if (findings.length > 0) process.stderr.write(`${dir}: ${JSON.stringify(findings)}\n`);
  return { ...noFigures(), verifyErrors: findings.length };
}

/** Runs work with an image attached; detaches and checks it. */
export async function withAttached(
  scratch: Places,
  dir: string,
  work: (at: { device: string; folder: string }) => Promise<Figures>,
): Promise<Figures> {
  const attached = await attachImage(dir, { runDir: scratch.runDir });
  const folder = `${scratch.runDir}/${attached.attachment}`;
  const figures = await work({ device: attached.device ?? '', folder });
  await detachAttachment(attached, { runDir: scratch.runDir });
  return addFigures(figures, await checked(dir));
}

export async function snapshotAttached(scratch: Places, dir: string): Promise<void> {
  const attachment = await findAttachment(dir, { runDir: scratch.runDir });
  if (attachment === null) throw new Error(`${dir} is not attached`);
  await control(attachment, 'snapshot', {});
}

/** Kills under blockstress; with `overBase` above a snapshot, so that writes copy; `flush: 0` leaves everything unflushed. */
export async function killUnderStress(scratch: Places, options: KillOptions & { overBase: boolean; flush?: number }): Promise<Figures> {
  const dir = scratch.path(`stress-${++images}`);
  const model = `${dir}.model`;
  await native.create(dir, { size: 256 * MIB });
  return withAttached(scratch, dir, async ({ device, folder }) => {
    if (options.overBase) {
      const base = startStress(device, { model });
      await sleep(1500);
      await base.end();
      await snapshotAttached(scratch, dir);
    }
    const stress = startStress(device, { model, ...(options.flush === undefined ? {} : { flush: options.flush }) });
    const figures = await killOften(folder, options);
    return addFigures(figures, await stress.end());
  });
}

const FIO = ['--name=verify', '--rw=randrw', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--size=96M'].concat([
  '--verify=crc32c',
  '--verify_fatal=1',
  '--verify_state_save=0',
]);

/** Kills under fio. One fio per pass: it can not verify what it wrote twice, on any device. */
export async function killUnderFio(scratch: Places, options: KillOptions & { overBase: boolean }): Promise<Figures> {
  const dir = scratch.path(`fio-${++images}`);
  await native.create(dir, { size: 256 * MIB });
  return withAttached(scratch, dir, async ({ device, folder }) => {
    if (options.overBase) {
      await run('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=96', 'oflag=direct', 'status=none']);
      await snapshotAttached(scratch, dir);
    }
    const done = new AbortController();
    const load = fioUntil(device, done.signal);
    const figures = await killOften(folder, options);
    done.abort();
    return addFigures(figures, await load);
  });
}

async function fioUntil(device: string, signal: AbortSignal): Promise<Figures> {
  const figures = noFigures();
  for (let pass = 0; !signal.aborted && figures.ioErrors === 0; pass++) {
    const bs = ['4k', '64k', '16k'][pass % 3] ?? '4k';
    const { exitCode, stderr } = await run('fio', [...FIO, `--filename=${device}`, `--bs=${bs}`], { accept: 'any' });
    if (exitCode === 0) continue;
    process.stderr.write(stderr);
    if (/verify:/.test(stderr)) figures.verifyErrors++;
    else figures.ioErrors++;
  }
  return figures;
}
