// SPDX-License-Identifier: Apache-2.0
// A process that holds temporary snapshots: each test has its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

import { afterEach, beforeEach } from 'vitest';

export interface Holder {
  readonly pid: string;
  /** And waits until it is gone. */
  end(): Promise<void>;
}

export function holderPerTest(): Holder {
  let child: ChildProcess;
  beforeEach(() => {
    child = spawn('sleep', ['600'], { stdio: 'ignore' });
  });
  afterEach(() => void child.kill('SIGKILL'));
  return {
    get pid() {
      return String(child.pid);
    },
    async end() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
