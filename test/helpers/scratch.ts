// SPDX-License-Identifier: Apache-2.0
// A scratch directory and a run directory of its own for tests of images. What is attached in there is detached at the end.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { listAttachments } from '../../src/attach/attachments.js';
import { mountPointsOf } from '../../src/attach/mounts.js';
import { detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';

export interface Scratch {
  /** On a file system with holes and direct I/O. */
  directory: string;
  runDir: string;
  path(name: string): string;
  clean(): Promise<void>;
}

/** Until clean(), this process's PLOOP_RUN_DIR is the scratch one. */
export async function makeScratch(): Promise<Scratch> {
  const directory = await mkdtemp(join(tmpdir(), 'ploop-test-'));
  const runDir = join(directory, 'run');
  const before = process.env.PLOOP_RUN_DIR;
  await mkdir(runDir, { mode: 0o700 });
  process.env.PLOOP_RUN_DIR = runDir;
  const clean = async (): Promise<void> => {
    try {
      await detachAll(runDir);
    } finally {
      if (before === undefined) delete process.env.PLOOP_RUN_DIR;
      else process.env.PLOOP_RUN_DIR = before;
      await rm(directory, { recursive: true, force: true });
    }
  };
  return { directory, runDir, path: (name) => join(directory, name), clean };
}

async function detachAll(runDir: string): Promise<void> {
  for (const one of await listAttachments({ runDir })) {
    const mountPoints = one.devno === null ? [] : await mountPointsOf(one.devno);
    for (const mountPoint of mountPoints.toReversed()) await run('umount', [mountPoint], { accept: 'any' });
    await detachAttachment(one, { runDir });
  }
}
