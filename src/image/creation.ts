// SPDX-License-Identifier: Apache-2.0
// The directory of an image that is being made. Until it is complete it holds a note of who makes it, so that what a killed
// command left does not stand in the way of the next one, and never looks like an image that somebody wants.

import { link, mkdir, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { bootId, startTicksOf } from '../exec/start-ticks.js';
import { native } from '../native/index.js';

const NOTE = 'creating';
/** A note that is being written. */
const DRAFT = /^creating\.\d+$/;

interface Note {
  host: string;
  boot: string;
  pid: number;
  startTicks: string;
  /** The directory was made for the image, and goes with it. */
  made: boolean;
}

/** Runs `work`, which makes an image in `dir`: a directory that does not exist, is empty or was left by a killed command. On failure it is as before. */
export async function withCreation<T>(dir: string, work: (path: string) => Promise<T>): Promise<T> {
  const path = resolve(dir);
  const made = await makeDirectory(path);
  await placeNote(path, made).catch(async (error: unknown) => {
    if (made) await rmdir(path).catch(() => undefined);
    throw error;
  });
  try {
    const result = await work(path);
    await rm(join(path, NOTE));
    return result;
  } catch (error) {
    // What could not be detached again is not removed under its user.
    if (!(await isInUse(path))) await removeAll(path, made);
    throw error;
  }
}

/** What `dir` holds was left by a create that was killed. */
export async function isLeftover(dir: string): Promise<boolean> {
  const note = await readNote(resolve(dir));
  return note !== null && !(await isAlive(note));
}

/** Only what an image consists of: a directory that holds other things keeps them. */
export async function removeFiles(path: string): Promise<void> {
  await removeDrafts(path);
  for (const name of ['image.json', 'image.json.new', 'layers', 'lock', NOTE]) await rm(join(path, name), { recursive: true, force: true });
}

async function removeDrafts(path: string): Promise<void> {
  const names = await readdir(path).catch(() => []);
  for (const name of names.filter((one) => DRAFT.test(one))) await rm(join(path, name), { force: true });
}

export function isInUse(path: string): Promise<boolean> {
  return native.isLocked(join(path, 'lock'), { shared: true });
}

async function removeAll(path: string, made: boolean): Promise<void> {
  await removeFiles(path);
  if (made) await rmdir(path).catch(() => undefined);
}

/** Written elsewhere and linked: a note is there whole or not at all, and its writer is never taken for dead. */
async function placeNote(path: string, made: boolean): Promise<void> {
  const draft = join(path, `${NOTE}.${process.pid}`);
  try {
    await writeFile(draft, JSON.stringify(await ownNote(made)), { mode: 0o600 });
    await link(draft, join(path, NOTE));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another one was faster, and may have taken the draft for a leftover.
    if (code !== 'EEXIST' && code !== 'ENOENT') throw mkdirFailure(path, error as NodeJS.ErrnoException);
    throw new PloopError('BUSY', `an image is being made in ${path} by another command`, { hint: 'Wait until that has ended.' });
  } finally {
    await rm(draft, { force: true });
  }
}

async function ownNote(made: boolean): Promise<Note> {
  const startTicks = (await startTicksOf(process.pid)) ?? '';
  return { host: hostname(), boot: await bootId(), pid: process.pid, startTicks, made };
}

/** null: there is none. One that is not whole is of a host that lost power. */
async function readNote(path: string): Promise<Note | null> {
  const text = await readFile(join(path, NOTE), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return JSON.parse(text) as Note;
  } catch {
    return { host: hostname(), boot: '', pid: 0, startTicks: '', made: false };
  }
}

/** Of another host, which may share this file system, nobody here can say that it is not. */
async function isAlive(note: Note): Promise<boolean> {
  if (note.host !== hostname()) return true;
  return note.boot === (await bootId()) && (await startTicksOf(note.pid)) === note.startTicks;
}

/** True when the directory was made, now or by a create that was killed; false when it was there, empty. */
async function makeDirectory(path: string): Promise<boolean> {
  const existing = await stat(path).catch(() => null);
  if (existing === null) {
    await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      throw mkdirFailure(path, error);
    });
    return true;
  }
  if (!existing.isDirectory()) throw new PloopError('EXISTS', `${path} exists and is not a directory`);
  const note = await readNote(path);
  if (note !== null) return takeOver(path, note);
  const names = (await readdir(path)).filter((name) => !DRAFT.test(name));
  if (names.length === 0) {
    await removeDrafts(path);
    return false;
  }
  const what = names.includes('image.json') ? 'holds an image already' : `exists and is not empty (it holds ${names[0] ?? ''})`;
  throw new PloopError('EXISTS', `${path} ${what}`, { hint: 'Choose another directory, or remove this one first.' });
}

async function takeOver(path: string, note: Note): Promise<boolean> {
  if (await isAlive(note)) {
    throw new PloopError('BUSY', `an image is being made in ${path} by pid ${note.pid} of ${note.host}`, {
      hint: `Wait until it has ended. If ${note.host} is gone, remove ${join(path, NOTE)} and what is beside it.`,
    });
  }
  if (await isInUse(path)) {
    throw new PloopError('BUSY', `${path} was left by a create that was killed, and is in use`, {
      hint: `Detach it first: ploop detach ${path}`,
    });
  }
  await removeFiles(path);
  return note.made;
}

function mkdirFailure(path: string, error: NodeJS.ErrnoException): PloopError {
  if (error.code === 'ENOENT')
    return new PloopError('NOT_FOUND', `${dirname(path)} does not exist`, { hint: `Make it first: mkdir -p ${dirname(path)}` });
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new PloopError('NOT_PERMITTED', `no permission to make ${path}`, { cause: error });
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') return new PloopError('NO_SPACE', `no space to make ${path}`, { cause: error });
  if (error.code === 'EROFS') return new PloopError('READ_ONLY', `${dirname(path)} is on a read-only file system`, { cause: error });
  return new PloopError('IO', `cannot make ${path}: ${error.code ?? error.message}`, { cause: error });
}
