// SPDX-License-Identifier: Apache-2.0
// A sqlite database that commits all the time, one row a transaction, with the time each commit took.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Database {
  /** Runs work; what the commits meanwhile took, in ms. */
  during(work: () => Promise<unknown>): Promise<number[]>;
  /** Ends it; acknowledged commits, and rows that are there. */
  close(): Promise<{ acknowledged: number; rows: number }>;
}

/** Between commits, so that it is a busy container and not a stress test. */
const PAUSE_MS = 2;

export async function startDatabase(path: string): Promise<Database> {
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
  let tookMs: number[] = [];
  const commits = (async (): Promise<void> => {
    while (!state.stopped) {
      const startedMs = performance.now();
      await ask("INSERT INTO t(v) VALUES(randomblob(200)); SELECT 'ok';");
      tookMs.push(performance.now() - startedMs);
      state.acknowledged++;
      await sleep(PAUSE_MS);
    }
  })().catch((error: unknown) => void (state.failure = error));
  return {
    during: async (work) => {
      tookMs = [];
      await work();
      if (state.failure !== undefined) throw state.failure;
      return tookMs;
    },
    close: async () => {
      state.stopped = true;
      await commits;
      const rows = Number(await ask('SELECT count(*) FROM t;'));
      sqlite.stdin.end();
      await ended;
      return { acknowledged: state.acknowledged, rows };
    },
  };
}
