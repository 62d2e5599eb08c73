// SPDX-License-Identifier: Apache-2.0
// The kernel's loop device on a raw file: allocated beforehand (the ceiling), or sparse.
import { rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/exec/run.js';
import { fill } from '../fio.js';
import { attachLoop, type Contender, detachLoop, newFolder, type Preparation } from './contender.js';

export async function rawFile(
  parent: string,
  { sizeBytes, content, allocated }: { sizeBytes: number; content: Preparation['content']; allocated: boolean },
): Promise<Contender> {
  const folder = await newFolder(parent);
  const file = join(folder, 'disk.raw');
  const make = async (): Promise<string> => {
    await writeFile(file, '');
    if (allocated) await run('fallocate', ['--length', String(sizeBytes), file]);
    else await truncate(file, sizeBytes);
    const made = await attachLoop(file);
    if (content !== 'empty') await fill(made);
    return made;
  };
  let device = await make();
  const close = async (): Promise<void> => {
    await detachLoop(device);
    await rm(folder, { recursive: true });
  };
  return {
    get device() {
      return device;
    },
    close,
    hostBytes: async () => {
      await run('sync', [device, file]);
      return (await stat(file)).blocks * 512;
    },
    reset: async () => {
      if (content !== 'empty') return; // a file has no layer to go back to, and overwriting is what it can do best
      await detachLoop(device);
      await rm(file);
      device = await make();
    },
  };
}
