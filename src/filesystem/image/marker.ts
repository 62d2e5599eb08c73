// SPDX-License-Identifier: Apache-2.0
// A note that an image is attached by a command for its own purposes and will be detached when the command ends. It lets
// the next command tell a command at work from the leftovers of a killed one.
import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { runDirectory, type RunDirectoryOption } from '../../attach/run-directory.js';
import { startTicksOf } from '../../exec/start-ticks.js';

export interface Owner {
  pid: number;
  /** Clock ticks since boot at which it started: pids are used again. */
  startTicks: string;
  /** What it is doing: "ploop compact /a/b". */
  command: string;
  /** The keeper of the attachment it made; absent until it has. */
  keeper?: number;
}

export interface Marker extends Owner {
  alive: boolean;
  writtenMs: number;
}

/** Images this process is at work on: a marker of ours for any other is a leftover like those of killed commands. */
const active = new Set<string>();

function markerPath(imageId: string, options: RunDirectoryOption): string {
  return join(runDirectory(options), 'temporary', `${imageId}.json`);
}

/** Claims the image for this process; false when somebody has claimed it before. */
export async function placeMarker(imageId: string, options: RunDirectoryOption): Promise<boolean> {
  const path = markerPath(imageId, options);
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  // Written elsewhere and linked: a marker is there whole or not at all.
  const draft = await writeDraft(path, {});
  try {
    await link(draft, path);
    active.add(imageId);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Adds whose attachment is to be taken away should this process be killed. */
export async function noteKeeper(imageId: string, keeper: number, options: RunDirectoryOption): Promise<void> {
  const path = markerPath(imageId, options);
  await rename(await writeDraft(path, { keeper }), path);
}

async function writeDraft(path: string, more: Pick<Owner, 'keeper'>): Promise<string> {
  const startTicks = (await startTicksOf(process.pid)) ?? '';
  const owner: Owner = { pid: process.pid, startTicks, command: process.argv.slice(1).join(' '), ...more };
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, JSON.stringify(owner));
  return draft;
}

/** The work is over. `clean` false: something is left, which the next command is to take away. */
export async function releaseMarker(imageId: string, options: RunDirectoryOption & { clean: boolean }): Promise<void> {
  active.delete(imageId);
  if (!options.clean) return;
  await rm(markerPath(imageId, options), { force: true });
}

/** Who has claimed the image, and whether it is still at work; undefined when nobody has. */
export async function readMarker(imageId: string, options: RunDirectoryOption): Promise<Marker | undefined> {
  const path = markerPath(imageId, options);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const writtenMs = (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
  const owner = JSON.parse(text) as Owner;
  const running = (await startTicksOf(owner.pid)) === owner.startTicks;
  return { ...owner, writtenMs, alive: running && (owner.pid !== process.pid || active.has(imageId)) };
}
