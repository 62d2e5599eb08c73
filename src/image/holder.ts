// SPDX-License-Identifier: Apache-2.0
// Who a temporary snapshot is kept for: one process, told from later ones with its id (FMT-118). In doubt it is there still.
import { readFile, readlink } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import { bootId, startTicksOf } from '../exec/start-ticks.js';
import { checkInteger } from '../native/arguments.js';

const KIND = 'linux';

/** As it is kept in the descriptor. */
export async function holderOf(pid: number): Promise<string> {
  checkInteger('snapshot: holder', pid, { min: 1, max: 2 ** 31 - 1 });
  const startTicks = await startTicksOf(pid);
  if (startTicks === undefined || (await hasEnded(pid))) {
    throw new PloopError('INVALID_ARGUMENT', `snapshot: holder: there is no process ${pid}`, {
      hint: 'Give the id of a process that runs as long as the snapshot is to be kept.',
    });
  }
  return [KIND, pid, startTicks, await bootId(), await pidNamespace()].join(':');
}

/** Nobody needs the snapshot any more: the process has ended, or the host was started anew since. */
export async function holderIsGone(holder: string): Promise<boolean> {
  const parsed = parseHolder(holder);
  if (parsed === null) return false;
  if (parsed.boot !== (await bootId())) return true;
  // Another namespace has other processes under the same ids.
  if (parsed.namespace !== (await pidNamespace())) return false;
  if ((await startTicksOf(process.pid)) === undefined) return false;
  return (await startTicksOf(parsed.pid)) !== parsed.startTicks || hasEnded(parsed.pid);
}

interface Holder {
  pid: number;
  startTicks: string;
  boot: string;
  namespace: string;
}

/** null: one of a kind that this program does not know. */
export function parseHolder(holder: string): Holder | null {
  const [kind, pid, startTicks, boot, namespace, ...more] = holder.split(':');
  if (kind !== KIND || pid === undefined || !/^[1-9]\d{0,9}$/.test(pid) || startTicks === undefined || !/^\d+$/.test(startTicks))
    return null;
  if (!boot || namespace === undefined || more.length > 0) return null;
  return { pid: Number(pid), startTicks, boot, namespace };
}

/** Ended, but its parent has not asked how. */
async function hasEnded(pid: number): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return /^[ZX]/.test(line.slice(line.lastIndexOf(')') + 2));
}

/** The number of this process's. */
async function pidNamespace(): Promise<string> {
  return /\d+/.exec(await readlink('/proc/self/ns/pid'))?.[0] ?? '';
}
