// SPDX-License-Identifier: Apache-2.0
// A note that an image is attached by a command for its own purposes and will be detached when the command ends. It lets
// the next command tell a command at work from the leftovers of a killed one.
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runDirectory, type RunDirectoryOption } from '../../attach/run-directory.js';

export interface Owner {
  pid: number;
  /** Clock ticks since boot at which it started: pids are used again. */
  startTicks: string;
  /** What it is doing: "ploop compact /a/b". */
  command: string;
}

function markerPath(imageId: string, options: RunDirectoryOption): string {
  return join(runDirectory(options), 'temporary', `${imageId}.json`);
}

/** Claims the image for this process; false when somebody has claimed it before. */
export async function placeMarker(imageId: string, options: RunDirectoryOption): Promise<boolean> {
  const path = markerPath(imageId, options);
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  const owner: Owner = { pid: process.pid, startTicks: (await startTicksOf(process.pid)) ?? '', command: process.argv.slice(1).join(' ') };
  // Written elsewhere and linked: a marker is there whole or not at all.
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, JSON.stringify(owner));
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

export async function removeMarker(imageId: string, options: RunDirectoryOption): Promise<void> {
  await rm(markerPath(imageId, options), { force: true });
}

/** Who has claimed the image, and whether that process still runs; undefined when nobody has. */
export async function readMarker(imageId: string, options: RunDirectoryOption): Promise<(Owner & { alive: boolean }) | undefined> {
  const text = await readFile(markerPath(imageId, options), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const owner = JSON.parse(text) as Owner;
  return { ...owner, alive: (await startTicksOf(owner.pid)) === owner.startTicks };
}

/** Field 22 of /proc/<pid>/stat; the command name before it may hold spaces and parentheses. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
