// SPDX-License-Identifier: Apache-2.0
// What tells a process from a later one with the same id, also across reboots.
import { readFile } from 'node:fs/promises';

/** When it started, in clock ticks since boot; undefined when there is no such process. */
export async function startTicksOf(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // Field 22; the command name before it may hold spaces and parentheses.
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19];
}

/** Another one after each boot of the host. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
