// SPDX-License-Identifier: Apache-2.0
// Storage that holds back the direct writes of some processes, as one does that has lost its path: a cgroup that may write one byte a
// second. Those of everybody else go on. What these processes sync, and their death, may wait as well: let it go soon.
import { mkdtemp, readFile, realpath, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';

const ROOT = '/sys/fs/cgroup/blkio';

export interface Stall {
  /** Its writes to `path`'s disk wait from now on. */
  hold(process: number): Promise<void>;
  /** What waits goes on. */
  release(): Promise<void>;
  /** Releases, and removes what it is made of. */
  end(): Promise<void>;
}

export async function makeStall(path: string): Promise<Stall> {
  const devno = await diskBelow(path);
  const group = await mkdtemp(join(ROOT, 'ploop-test-'));
  const limit = (bytesPerSecond: number): Promise<void> =>
    writeFile(join(group, 'blkio.throttle.write_bps_device'), `${devno} ${bytesPerSecond}`);
  const release = (): Promise<void> => limit(0);
  const hold = async (process: number): Promise<void> => {
    await limit(1);
    await writeFile(join(group, 'cgroup.procs'), String(process));
  };
  const end = async (): Promise<void> => {
    await release();
    for (const pid of (await readFile(join(group, 'cgroup.procs'), 'utf8')).split('\n').filter(Boolean))
      await writeFile(join(ROOT, 'cgroup.procs'), pid).catch(() => undefined);
    await rmdir(group);
  };
  return { hold, release, end };
}

/** Of a partition: the whole disk. */
async function diskBelow(path: string): Promise<string> {
  const devno = (await run('stat', ['-c', '%Hd:%Ld', path])).stdout.trim();
  const disk = await realpath(`/sys/dev/block/${devno}`);
  const whole = await readFile(join(disk, 'partition')).then(
    () => join(disk, '..'),
    () => disk,
  );
  return (await readFile(join(whole, 'dev'), 'utf8')).trim();
}
