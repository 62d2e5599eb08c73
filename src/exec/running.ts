// SPDX-License-Identifier: Apache-2.0
// Children run in sessions of their own, so that a terminal's Control-C reaches ploop alone and ploop decides what ends
// (a second Control-C must not kill the umount that tidies up). In return ploop must end them when it exits itself.

const running = new Set<number>();
let hooked = false;

/** Remembers a child until the returned function is called. */
export function rememberChild(pid: number | undefined): () => void {
  if (pid === undefined) return () => undefined;
  if (!hooked) {
    hooked = true;
    process.on('exit', endChildren);
  }
  running.add(pid);
  return () => running.delete(pid);
}

function endChildren(): void {
  for (const pid of running) {
    try {
      process.kill(pid, 'SIGTERM');
    } catch {
      // It ended by itself.
    }
  }
}
