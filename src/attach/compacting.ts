// SPDX-License-Identifier: Apache-2.0
// Compaction gives way: it leaves a note in the run directory that says who compacts which image, and whoever wants to do
// something with that image asks it to stop and waits until it has. An automatic one stops for everybody, one that somebody
// asked for only for those who take the disk away: the others can work beside it.
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { PloopError } from '../errors.js';
import type { Attachment } from './attachments.js';
import { runDirectory, type RunDirectoryOption } from './run-directory.js';

const FOLDER = 'compacting';
/** A discard or a batch of moved clusters ends well before that. */
const PATIENCE_MS = 10_000;

/** The signal that asks to give way. */
export const GIVE_WAY = 'SIGUSR1';

export type CompactionKind = 'automatic' | 'manual';

/** Runs work with the note in place; its signal is aborted when somebody asks it to give way. BUSY while another one compacts the image. */
export async function whileNoted<T>(
  { directory, image, kind }: { directory: string; image: string; kind: CompactionKind },
  work: (signal: AbortSignal) => Promise<T>,
  options: RunDirectoryOption,
): Promise<T> {
  const folder = join(runDirectory(options), FOLDER);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const note = join(folder, image);
  const stop = new AbortController();
  const giveWay = (): void => stop.abort(new PloopError('INTERRUPTED', `compacting ${directory} gave way to another command`));
  process.on(GIVE_WAY, giveWay);
  try {
    await leaveNote(note, { directory, kind });
    return await work(stop.signal).finally(() => rm(note, { force: true }));
  } finally {
    process.off(GIVE_WAY, giveWay);
  }
}

async function leaveNote(note: string, { directory, kind }: { directory: string; kind: CompactionKind }): Promise<void> {
  const draft = `${note}.${process.pid}`;
  await writeFile(draft, `${process.pid} ${await startOf(process.pid)} ${kind}\n`);
  try {
    await link(draft, note);
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === 'EEXIST' ? await readNote(note) : null;
    if (other !== null) {
      throw new PloopError('BUSY', `${directory} is being compacted by process ${other.pid}`, {
        hint: 'Wait until it has ended, or end it: nothing is lost by that.',
        details: { holder: other.pid },
      });
    }
    // It was killed.
    await rename(draft, note);
  } finally {
    await rm(draft, { force: true });
  }
}

export interface AskOptions {
  /** The disk is taken away: one that somebody asked for has to stop, too. */
  always?: boolean | undefined;
}

/** Asks a compaction of the image to stop, and waits for that; returns at once when there is none that has to. */
export async function askToGiveWay(attachment: Pick<Attachment, 'folder' | 'image'>, { always = false }: AskOptions = {}): Promise<void> {
  const note = join(attachment.folder, '..', FOLDER, attachment.image);
  const deadlineMs = performance.now() + PATIENCE_MS;
  let asked = false;
  for (;;) {
    const other = await readNote(note);
    if (other === null || other.pid === process.pid || (other.kind === 'manual' && !always)) return;
    if (!asked) process.kill(other.pid, GIVE_WAY);
    asked = true;
    if (performance.now() > deadlineMs) return;
    await sleep(20);
  }
}

/** null: nobody compacts it (any more). */
async function readNote(note: string): Promise<{ pid: number; kind: CompactionKind } | null> {
  const [pid = 0, start = '', kind] = (await readFile(note, 'utf8').catch(() => '')).trim().split(' ');
  if (!(Number(pid) > 0) || start === '' || (await startOf(Number(pid))) !== start) return null;
  return { pid: Number(pid), kind: kind === 'manual' ? 'manual' : 'automatic' };
}

/** When a process began, as /proc counts; "" when it is gone. A number that was given to another one differs. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
