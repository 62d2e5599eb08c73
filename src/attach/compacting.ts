// SPDX-License-Identifier: Apache-2.0
// Automatic compaction gives way: it leaves a note in the run directory that says who compacts which image, and whoever wants
// to do something with that image asks it to stop and waits until it has.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Attachment } from './attachments.js';
import { runDirectory, type RunDirectoryOption } from './run-directory.js';

const FOLDER = 'compacting';
/** A discard or a batch of moved clusters ends well before that. */
const PATIENCE_MS = 10_000;

/** The signal that asks to give way. */
export const GIVE_WAY = 'SIGUSR1';

/** Runs work with the note in place. */
export async function whileNoted<T>(image: string, work: () => Promise<T>, options: RunDirectoryOption): Promise<T> {
  const folder = join(runDirectory(options), FOLDER);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const note = join(folder, image);
  await writeFile(note, `${process.pid} ${await startOf(process.pid)}\n`);
  try {
    return await work();
  } finally {
    await rm(note, { force: true });
  }
}

/** Asks an automatic compaction of the image to stop, and waits for that; returns at once when there is none. */
export async function askToGiveWay(attachment: Pick<Attachment, 'folder' | 'image'>): Promise<void> {
  const note = join(attachment.folder, '..', FOLDER, attachment.image);
  const deadlineMs = performance.now() + PATIENCE_MS;
  let asked = false;
  for (;;) {
    const [pid = 0, start = ''] = (await readFile(note, 'utf8').catch(() => '')).trim().split(' ');
    const other = Number(pid);
    if (!(other > 0) || other === process.pid || start === '' || (await startOf(other)) !== start) return;
    if (!asked) process.kill(other, GIVE_WAY);
    asked = true;
    if (performance.now() > deadlineMs) return;
    await sleep(20);
  }
}

/** When a process began, as /proc counts; "" when it is gone. A number that was given to another one differs. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
