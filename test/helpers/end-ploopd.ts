// SPDX-License-Identifier: Apache-2.0
// Ending a keeper or worker that state.json names. One that died leaves its number there, and by now it may be another's.
import { readlinkSync } from 'node:fs';

export function endPloopd(pid: number): void {
  try {
    if (pid > 1 && /\/ploopd( \(deleted\))?$/.test(readlinkSync(`/proc/${pid}/exe`))) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
