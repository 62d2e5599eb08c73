// SPDX-License-Identifier: Apache-2.0
// One attached image for the ploopd tests: its device, its processes, and what it costs.
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import { attachImage, type AttachOptions, type AttachResult, detachAttachment } from '../../src/attach/ploopd.js';
import { native } from '../../src/native/index.js';
import type { Places } from '../helpers/scratch.js';

export interface State {
  state: string;
  keeper: number;
  worker: number;
  restarts: number;
  device: string | null;
  lastError: string | null;
}

export interface Attached extends AttachResult {
  dir: string;
  folder: string;
  device: string;
  state(): Promise<State>;
  detach(): Promise<void>;
  /** Kills the worker and waits until the next one serves. */
  killWorker(): Promise<void>;
}

export async function createImage(scratch: Places, name: string, sizeBytes: number): Promise<string> {
  const dir = scratch.path(name);
  await native.create(dir, { size: sizeBytes });
  return dir;
}

export async function attach(scratch: Places, dir: string, options: AttachOptions = {}): Promise<Attached> {
  const result = await attachImage(dir, { ...options, runDir: scratch.runDir });
  const folder = join(scratch.runDir, result.attachment);
  const state = (): Promise<State> => readState(folder);
  const killWorker = (): Promise<void> => killWorkerIn(folder);
  const detach = (): Promise<void> => detachAttachment(result, { runDir: scratch.runDir });
  return { ...result, device: result.device ?? '', dir, folder, state, detach, killWorker };
}

/** Of the image's disk, however it is attached: kills the worker and waits until the next one serves. */
export async function killWorkerOf(dir: string): Promise<void> {
  const attachment = await findAttachment(dir);
  if (attachment === null) throw new Error(`${dir} is not attached`);
  await killWorkerIn(attachment.folder);
}

async function killWorkerIn(folder: string): Promise<void> {
  const { worker, restarts } = await readState(folder);
  process.kill(worker, 'SIGKILL');
  const state = (): Promise<State> => readState(folder);
  await expect.poll(state, { timeout: 20_000, interval: 20 }).toMatchObject({ state: 'running', restarts: restarts + 1 });
}

async function readState(folder: string): Promise<State> {
  return JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')) as State;
}

/** On a device or in a file that is there; it has reached the disk behind it when this returns. */
export async function writeAt(path: string, offset: number, data: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(data, 0, data.length, offset);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function hostBytes(dir: string): Promise<number> {
  const { layers } = await native.info(dir, { usage: true, lock: false });
  const sizes = await Promise.all(layers.map(async ({ id }) => (await stat(join(dir, 'layers', `${id}.plp`))).blocks * 512));
  return sizes.reduce((sum, size) => sum + size, 0);
}
