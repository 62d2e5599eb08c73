// SPDX-License-Identifier: Apache-2.0
// A database that commits, one row after the other, while something is done underneath; every acknowledged row must be there.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { run } from '../../src/exec/run.js';

export interface Committer {
  /** Rows whose commit was acknowledged. */
  readonly acknowledged: number;
  /** What sqlite complained about. */
  readonly complaints: string;
  /** As a crash of the program would. */
  kill(): Promise<void>;
}

/** Later ones are short: who commits for minutes is not to fill the disk. */
const LONG_ROWS = 5000;

export function startCommitter(database: string): Committer {
  const child: ChildProcessWithoutNullStreams = spawn('sqlite3', ['-batch', database]);
  const state = { acknowledged: 0, complaints: '' };
  const ended = once(child, 'close');
  child.stdin.on('error', () => undefined);
  child.stderr.setEncoding('utf8').on('data', (text: string) => (state.complaints += text));
  const commit = (): void => {
    const row = state.acknowledged + 1;
    const bytes = row <= LONG_ROWS ? 2000 : 100;
    child.stdin.write(`INSERT INTO rows VALUES (${row}, hex(randomblob(${bytes})));\nSELECT ${row};\n`);
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (Number(line) !== state.acknowledged + 1) return;
    state.acknowledged++;
    commit();
  });
  child.stdin.write('PRAGMA synchronous = FULL;\nCREATE TABLE rows (n INTEGER PRIMARY KEY, filler TEXT);\n');
  commit();
  return {
    get acknowledged() {
      return state.acknowledged;
    },
    get complaints() {
      return state.complaints;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** 'ok' when the database is sound and holds every row up to that one. */
export async function checkRows(database: string, upTo: number): Promise<string> {
  const query = `PRAGMA integrity_check; SELECT count(*) FROM rows WHERE n <= ${upTo};`;
  const { stdout } = await run('sqlite3', ['-batch', database, query]);
  const [integrity, rows] = stdout.trim().split('\n');
  if (integrity !== 'ok') return `integrity: ${stdout}`;
  return Number(rows) === upTo ? 'ok' : `${rows} of ${upTo} rows`;
}
