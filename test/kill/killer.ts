// SPDX-License-Identifier: Apache-2.0
// kill -9 of the worker of an attachment, at random times, as often as wanted.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Figures, noFigures } from './figures.js';

interface State {
  state: string;
  keeper: number;
  worker: number;
  restarts: number;
}

/** The newest state.json of the attachment; it is replaced atomically. */
export async function readState(folder: string): Promise<State> {
  return JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')) as State;
}

/** The folder of the only attachment below a run directory. */
export async function onlyFolder(runDir: string): Promise<string> {
  const names = (await readdir(runDir)).filter((name) => /^[0-9a-f]{8}-/.test(name));
  if (names.length !== 1) throw new Error(`${runDir} holds ${names.length} attachments`);
  return join(runDir, names[0] ?? '');
}

const PATIENCE_MS = 60_000;

/** Kills the worker; answers how many ms it took until the next one served. */
export async function killWorker(folder: string): Promise<number> {
  const { keeper, worker, restarts } = await readState(folder);
  // More than four deaths in ten seconds are what we want here: the keeper forgets those before.
  process.kill(keeper, 'SIGUSR1');
  const start = performance.now();
  process.kill(worker, 'SIGKILL');
  for (;;) {
    const now = await readState(folder);
    if (now.state === 'running' && now.restarts > restarts) return Math.round(performance.now() - start);
    if (performance.now() - start > PATIENCE_MS) throw new Error(`no new worker in ${folder}: ${JSON.stringify(now)}`);
    await sleep(2);
  }
}

/** The keeper's child, also one that does not serve yet. */
async function youngestWorker(keeper: number): Promise<number> {
  const children = await readFile(`/proc/${keeper}/task/${keeper}/children`, 'utf8').catch(() => '');
  return Number(children.trim().split(' ').at(-1) ?? 0);
}

/** Kills the worker and, while it comes up, the next one, too. */
async function killTwice(folder: string, random: () => number): Promise<number> {
  const { keeper, worker } = await readState(folder);
  const first = killWorker(folder);
  await sleep(random() * 30);
  const next = await youngestWorker(keeper);
  if (next > 0 && next !== worker) process.kill(next, 'SIGKILL');
  return first;
}

export interface KillOptions {
  kills: number;
  /** Longest pause between two kills. */
  pauseMs: number;
  random: () => number;
}

/** One kill in eight hits the new worker as well, before or after it serves. */
export async function killOften(folder: string, options: KillOptions): Promise<Figures> {
  const figures = noFigures();
  const { random } = options;
  const before = (await readState(folder)).restarts;
  while (figures.kills < options.kills) {
    await sleep(random() * options.pauseMs);
    const twice = random() < 1 / 8;
    figures.restartMs.push(twice ? await killTwice(folder, random) : await killWorker(folder));
    figures.kills = (await readState(folder)).restarts - before;
  }
  return figures;
}
