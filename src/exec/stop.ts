// SPDX-License-Identifier: Apache-2.0
// Ending a child that has to go: SIGTERM, then SIGKILL, to all that it started (a tar and its decompressor).

const KILL_GRACE_MS = 5000;

export interface StopOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  /** The child leads a process group of its own. */
  group: boolean;
}

export interface Stopper {
  /** Why the child was told to end; undefined when it was not. */
  readonly reason: 'aborted' | 'timeout' | undefined;
  /** To be called when the child is gone. */
  release(): void;
}

export function stopWhenAsked(pid: number | undefined, options: StopOptions): Stopper {
  const { signal, timeoutMs, group } = options;
  let reason: Stopper['reason'];
  let killer: NodeJS.Timeout | undefined;
  const stop = (why: 'aborted' | 'timeout'): void => {
    if (pid === undefined || reason !== undefined) return;
    reason = why;
    send(group ? -pid : pid, 'SIGTERM');
    killer = setTimeout(() => send(group ? -pid : pid, 'SIGKILL'), KILL_GRACE_MS);
  };
  const onAbort = (): void => stop('aborted');
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => stop('timeout'), timeoutMs);
  return {
    get reason() {
      return reason;
    },
    release() {
      clearTimeout(timer);
      clearTimeout(killer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

/** pid < 0: the group. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}
