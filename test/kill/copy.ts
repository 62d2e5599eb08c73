// SPDX-License-Identifier: Apache-2.0
// kill -9 of `ploop copy`, or of one of the two that work for it; the same command then goes on, and tidies up in the end.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { listSnapshots } from '../../src/image/snapshots.js';
import { startCommand } from '../helpers/command.js';
import { type Scene, verifyComplete } from './scene.js';

/** Node has to start, too. */
const LONGEST_MS = 2500;

export async function killCopies(scene: Scene, dst: string, kills: number): Promise<void> {
  const { figures, random, src } = scene;
  const before = (await listSnapshots(src)).length;
  for (let attempt = 0; attempt <= kills; attempt++) {
    const started = startCommand('ploop', ['copy', src, dst, '--level', '1']);
    const workers = new Set<number>();
    if (attempt < kills) {
      await sleep(random() * LONGEST_MS);
      const { pid, exitCode } = started.child;
      if (pid !== undefined && exitCode === null) {
        for (const worker of await childrenOf(pid)) workers.add(worker);
        const all = [pid, ...workers];
        process.kill(all[Math.floor(random() * all.length)] ?? pid, 'SIGKILL');
        figures.kills++;
      }
    }
    const { status, stderr } = await started.ended;
    // Without the command they end by themselves, and hold the receiver's lock until then.
    while ([...workers].some((worker) => existsSync(`/proc/${worker}`))) await sleep(20);
    if (status === 0) break;
    if (attempt === kills) figures.wrong.push(`${dst}: copy does not complete: ${stderr}`);
  }
  await verifyComplete(scene, dst);
  if ((await listSnapshots(src)).length !== before) figures.wrong.push(`${src}: snapshots of the copy are left`);
}

async function childrenOf(pid: number): Promise<number[]> {
  const tasks = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return tasks
    .trim()
    .split(' ')
    .map(Number)
    .filter((child) => child > 0);
}
