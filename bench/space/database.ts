// SPDX-License-Identifier: Apache-2.0
// A sqlite database that commits all the time, one row a transaction, with the time each commit took.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Database {
  /** What commits from now on count to. */
  mark(phase: string): void;
  /** What the commits of each phase took, in ms; begins anew. */
  take(): Map<string, number[]>;
  /** Ends it; acknowledged commits, and rows that are there. */
  close(): Promise<{ acknowledged: number; rows: number }>;
}

/** Between commits, so that it is a busy container and not a stress test. */
const PAUSE_MS = 2;

/** phase: what the first commits count to. */
export async function startDatabase(path: string, firstPhase: string): Promise<Database> {
  const sqlite = spawn('sqlite3', ['-batch', path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: sqlite.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => sqlite.once('close', resolve));
  const ask = async (sql: string): Promise<string> => {
    sqlite.stdin.write(`${sql}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error('sqlite3 has ended');
    return value as string;
  };
  await ask("PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); SELECT 'ready';");
  const state = { stopped: false, acknowledged: 0, failure: undefined as unknown };
  let phase = firstPhase;
  let tookMs = new Map<string, number[]>();
  const commits = (async (): Promise<void> => {
    while (!state.stopped) {
      const startedMs = performance.now();
      const before = phase;
      await ask("INSERT INTO t(v) VALUES(randomblob(200)); SELECT 'ok';");
      // One that a step began or ended in the middle of counts to both.
      for (const one of new Set([before, phase])) {
        const list = tookMs.get(one) ?? [];
        list.push(performance.now() - startedMs);
        tookMs.set(one, list);
      }
      state.acknowledged++;
      await sleep(PAUSE_MS);
    }
  })().catch((error: unknown) => void (state.failure = error));
  return {
    mark: (name) => {
      phase = name;
    },
    take: () => {
      const taken = tookMs;
      tookMs = new Map();
      return taken;
    },
    close: async () => {
      state.stopped = true;
      await commits;
      if (state.failure !== undefined) throw state.failure;
      const rows = Number(await ask('SELECT count(*) FROM t;'));
      sqlite.stdin.end();
      await ended;
      return { acknowledged: state.acknowledged, rows };
    },
  };
}
