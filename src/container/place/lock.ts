// SPDX-License-Identifier: Apache-2.0
// One command at a time on a container: flock(2) on a file of the run directory, gone with the process that holds it.
// Node has no flock; flock(1) locks the descriptor we hand it, and the lock stays with our open file after it has ended.

import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

import { PloopError } from '../../errors.js';
import { run } from '../../exec/run.js';
import type { ContainerPaths } from './roots.js';

/** Runs `work` under the container's lock; BUSY with the holder's name when another command has it. Root only. */
export async function withContainerLock<T>(paths: ContainerPaths, what: string, work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) throw new PloopError('NOT_PERMITTED', `${what} needs root`, { hint: 'Run the command as root.' });
  await mkdir(dirname(paths.lockFile), { recursive: true, mode: 0o700 });
  const file = await open(paths.lockFile, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    const { exitCode } = await run('flock', ['--nonblock', '0'], { input: { fd: file.fd }, accept: [0, 1] });
    if (exitCode !== 0) throw busy(paths.ctid, (await file.readFile('utf8')).trim());
    await file.truncate(0);
    await file.write(`${what} (process ${process.pid})\n`, 0);
    try {
      return await work();
    } finally {
      await file.truncate(0);
    }
  } finally {
    await file.close();
  }
}

function busy(ctid: string, holder: string): PloopError {
  return new PloopError('BUSY', `container ${ctid} is locked by ${holder === '' ? 'another command' : holder}`, {
    hint: 'Wait until it has ended, or end it.',
    details: { holder: holder || null },
  });
}
