// SPDX-License-Identifier: Apache-2.0
// A scratch directory and a run directory of its own for tests of images. What is attached or mounted in there is taken down at the
// end, however the test went.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readersAgree } from './agreement.js';
import { takeDown, throwAll } from './take-down.js';

export interface Places {
  /** On a file system with holes and direct I/O. */
  readonly directory: string;
  readonly runDir: string;
  path(name: string): string;
}

export interface Scratch extends Places {
  clean(): Promise<void>;
}

/** Until clean(), this process's PLOOP_RUN_DIR is the scratch one. */
export async function makeScratch(): Promise<Scratch> {
  const directory = await mkdtemp(join(tmpdir(), 'ploop-test-'));
  const runDir = join(directory, 'run');
  const before = process.env.PLOOP_RUN_DIR;
  await mkdir(runDir, { mode: 0o700 });
  process.env.PLOOP_RUN_DIR = runDir;
  const clean = async (): Promise<void> => {
    if (before === undefined) delete process.env.PLOOP_RUN_DIR;
    else process.env.PLOOP_RUN_DIR = before;
    throwAll(`cleaning up ${directory}`, await cleanUp({ runDir, directory }));
  };
  return { directory, runDir, path: (name) => join(directory, name), clean };
}

/** What could not be taken down can still be ended by hand, as long as its files are there. */
async function cleanUp(places: { runDir: string; directory: string }): Promise<unknown[]> {
  const failures = await takeDown(places);
  if (failures.length > 0) return failures;
  await readersAgree(places.directory).catch((error: unknown) => failures.push(error));
  await rm(places.directory, { recursive: true, force: true }).catch((error: unknown) => failures.push(error));
  return failures;
}
