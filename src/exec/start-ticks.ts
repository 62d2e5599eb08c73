// SPDX-License-Identifier: Apache-2.0
// What tells a process from a later one with the same id.
import { readFile } from 'node:fs/promises';

/** When it started, in clock ticks since boot; undefined when there is no such process. */
export async function startTicksOf(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // Field 22; the command name before it may hold spaces and parentheses.
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19];
}
