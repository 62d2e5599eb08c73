// SPDX-License-Identifier: Apache-2.0
// Children run in sessions of their own, so that a terminal's Control-C reaches ploop alone and ploop decides what ends
// (a second Control-C must not kill the umount that tidies up). In return ploop must end them when it exits itself.

import { send } from './stop.js';

/** Process ids, negative for a group. */
const running = new Set<number>();
let hooked = false;

/** Remembers a child until the returned function is called. */
export function rememberChild(pid: number | undefined, group: boolean): () => void {
  if (pid === undefined) return () => undefined;
  if (!hooked) {
    hooked = true;
    process.on('exit', endChildren);
  }
  const target = group ? -pid : pid;
  running.add(target);
  return () => running.delete(target);
}

function endChildren(): void {
  for (const pid of running) send(pid, 'SIGTERM');
}
