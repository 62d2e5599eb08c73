// SPDX-License-Identifier: Apache-2.0
// Killing keepers and workers. A number that state.json names may be another's by now, if the one it stood for has died.
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LIMIT_MS = 20_000;

/** Kills those that are ploopd and waits until they are gone: with their files closed, and so their locks free. */
export async function endPloopd(...pids: readonly number[]): Promise<void> {
  const ours = pids.filter(isPloopd);
  for (const pid of ours) kill(pid);
  const end = Date.now() + LIMIT_MS;
  for (let alive = ours; (alive = alive.filter(lives)).length > 0; await sleep(5))
    if (Date.now() > end) throw new Error(`ploopd ${alive.join(', ')} was killed and does not end within ${LIMIT_MS} ms`);
}

function isPloopd(pid: number): boolean {
  try {
    return pid > 1 && /\/ploopd( \(deleted\))?$/.test(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** "123 (ploopd-keeper) S 1 …"; a zombie has closed its files. */
function lives(pid: number): boolean {
  try {
    return !/^[ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, ''));
  } catch {
    return false;
  }
}
