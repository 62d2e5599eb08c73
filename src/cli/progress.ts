// SPDX-License-Identifier: Apache-2.0
// One line on a terminal: `populate  [########............]  42 %`. Redrawn at most ten times a second, gone at the end.

const WIDTH = 24;
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001B[K';

export function renderProgress(label: string, done: number, total: number): string {
  const part = total > 0 ? Math.min(1, Math.max(0, done / total)) : 0;
  const filled = Math.round(part * WIDTH);
  return `${label}  [${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${String(Math.floor(part * 100)).padStart(3)} %`;
}

export function progressBar(out: NodeJS.WritableStream, label: string): { update(done: number, total: number): void; end(): void } {
  let drawnAtMs = -Infinity;
  let ended = false;
  return {
    update(done, total) {
      const nowMs = performance.now();
      if (ended || nowMs - drawnAtMs < REDRAW_MS) return;
      drawnAtMs = nowMs;
      out.write(CLEAR_LINE + renderProgress(label, done, total));
    },
    end() {
      if (!ended && drawnAtMs !== -Infinity) out.write(CLEAR_LINE);
      ended = true;
    },
  };
}
