// SPDX-License-Identifier: Apache-2.0
// A scratch directory and a run directory of its own for tests of images. What is attached in there is detached at the end.
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Attachment, listAttachments } from '../../src/attach/attachments.js';
import { connectControl } from '../../src/attach/connect.js';
import { mountPointsOf } from '../../src/attach/mounts.js';
import { detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { readersAgree } from './agreement.js';
import { endPloopd } from './end-ploopd.js';

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
    if (before === undefined) delete process.env.PLOOP_RUN_DIR;
    else process.env.PLOOP_RUN_DIR = before;
    await detachAll(runDir);
    await readersAgree(directory).finally(() => rm(directory, { recursive: true, force: true }));
  };
  return { directory, runDir, path: (name) => join(directory, name), clean };
}

async function detachAll(runDir: string): Promise<void> {
  for (const one of await listAttachments({ runDir })) {
    if (one.live) await failWaitingWrites(one).catch(() => undefined);
    const mountPoints = one.devno === null ? [] : await mountPointsOf(one.devno);
    for (const mountPoint of mountPoints.toReversed()) await run('umount', [mountPoint], { accept: 'any' });
    await detachAttachment(one, { runDir }).catch(() => detachByForce(one, runDir));
  }
}

/** Writes that wait for room on a full host would make umount wait, too. */
async function failWaitingWrites(one: Attachment): Promise<void> {
  const socket = await connectControl(one);
  socket.write('{"id":1,"op":"set","onFull":"error"}\n');
  await once(socket, 'data', { signal: AbortSignal.timeout(5000) }).finally(() => socket.destroy());
}

/** What does not end by itself must not outlive the test: it would make others wait who only look at loop devices. */
async function detachByForce(one: Attachment, runDir: string): Promise<void> {
  for (const pid of [one.keeper, one.worker]) endPloopd(pid);
  await sleep(200);
  await detachAttachment(one, { runDir });
}
