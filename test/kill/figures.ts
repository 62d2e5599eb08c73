// SPDX-License-Identifier: Apache-2.0
// What a kill test has seen: how many kills, what they cost, and what went wrong (which must be nothing).

export interface Figures {
  /** Processes killed. */
  kills: number;
  /** From each kill of a worker until the next one served. */
  restartMs: number[];
  /** Requests whose answers were checked or counted. */
  requests: number;
  /** The longest that one request took, as the device's user saw it; null where nobody measured. */
  longestWaitMs: number | null;
  ioErrors: number;
  verifyErrors: number;
}

export function noFigures(): Figures {
  return { kills: 0, restartMs: [], requests: 0, longestWaitMs: null, ioErrors: 0, verifyErrors: 0 };
}

export function addFigures(a: Figures, b: Figures): Figures {
  const waits = [a.longestWaitMs, b.longestWaitMs].filter((one) => one !== null);
  return {
    kills: a.kills + b.kills,
    restartMs: [...a.restartMs, ...b.restartMs],
    requests: a.requests + b.requests,
    longestWaitMs: waits.length === 0 ? null : Math.max(...waits),
    ioErrors: a.ioErrors + b.ioErrors,
    verifyErrors: a.verifyErrors + b.verifyErrors,
  };
}

/** "34 kills, restart p50 18 ms, max 61 ms, longest wait 113 ms, 51234 requests, 0 I/O errors, 0 verify errors" */
export function renderFigures(figures: Figures): string {
  const sorted = figures.restartMs.toSorted((a, b) => a - b);
  const restart = sorted.length === 0 ? '' : `, restart p50 ${sorted[sorted.length >> 1]} ms, max ${sorted.at(-1)} ms`;
  const wait = figures.longestWaitMs === null ? '' : `, longest wait ${figures.longestWaitMs} ms`;
  const requests = figures.requests === 0 ? '' : `, ${figures.requests} requests`;
  return `${figures.kills} kills${restart}${wait}${requests}, ${figures.ioErrors} I/O errors, ${figures.verifyErrors} verify errors`;
}
