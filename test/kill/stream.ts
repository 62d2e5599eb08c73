// SPDX-License-Identifier: Apache-2.0
// kill -9 of either side of send and receive, at random times, again and again in one transfer. Whatever happens, the receiver has
// nothing or what it had; and what is gone on with completes.
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, open, readFile, rm, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { listSnapshots } from '../../src/image/snapshots.js';
import { nativeFile } from '../../src/native/binding.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import type { Places } from '../helpers/scratch.js';
import { killCopies } from './copy.js';
import { hashOf, NAMES, type Scene, type StreamFigures, verifyComplete } from './scene.js';

export interface StreamKillOptions {
  kills: number;
  random: () => number;
}

const MIB = 2 ** 20;
const KILLS_PER_TRANSFER = 6;
/** About as long as a transfer takes. */
const LONGEST_MS = 600;

/** Kills in transfers of whole images, of changes, and in copies, by turns. */
export async function killTransfers(scratch: Places, options: StreamKillOptions): Promise<StreamFigures> {
  const scene = await makeScene(scratch, options.random);
  const { figures } = scene;
  while (figures.kills < options.kills) {
    const kind = figures.transfers % 5;
    const whole = kind % 2 === 0;
    const dst = scratch.path(`dst-${figures.transfers}`);
    const kills = Math.min(KILLS_PER_TRANSFER, options.kills - figures.kills);
    if (!whole) await cp(scene.base, dst, { recursive: true });
    if (kind === 4) await killCopies(scene, dst, kills);
    else await transfer(scene, dst, whole, kills);
    await rm(dst, { recursive: true, force: true });
    figures.transfers++;
  }
  return figures;
}

async function makeScene(scratch: Places, random: () => number): Promise<Scene> {
  const [src, base] = [scratch.path('src'), scratch.path('base')];
  const figures: StreamFigures = { kills: 0, transfers: 0, resumed: 0, restarted: 0, wrong: [] };
  const scene: Scene = { scratch, src, base, hashes: new Map(), figures, random };
  const noise = (await readFile(process.execPath)).subarray(0, 80 * MIB);
  await ploop('create', src, '--size', '128M', '--fs', 'none');
  const { device } = (await ploop('attach', src, '--json')).json<{ device: string }>();
  const disk = await open(device, 'r+');
  for (const [at, name] of NAMES.entries()) {
    await disk.write(noise, 0, noise.length >> at, at * 40 * MIB);
    await disk.sync();
    await ploop('snapshot', src, '--name', name);
  }
  await disk.close();
  await ploop('detach', src);
  for (const name of NAMES) scene.hashes.set(name, await hashOf(src, name));
  await ended(start(scene, base, ['--snapshot', 'one']));
  return scene;
}

interface Pair {
  sender: ChildProcess;
  receiver: ChildProcess;
}

function start(scene: Scene, dst: string, what: readonly string[]): Pair {
  const program = nativeFile('ploop-stream');
  const receiver = spawn(program, ['receive', dst], { stdio: ['pipe', 'ignore', 'ignore'] });
  const sender = spawn(program, ['send', scene.src, '--level', '1', ...what], { stdio: ['ignore', receiver.stdin, 'ignore'] });
  receiver.stdin.on('error', () => undefined);
  receiver.stdin.destroy();
  return { sender, receiver };
}

async function ended({ sender, receiver }: Pair): Promise<boolean> {
  const statuses = await Promise.all([sender, receiver].map((one) => new Promise((resolve) => void one.once('close', resolve))));
  return statuses.every((status) => status === 0);
}

async function tokenOf(dst: string): Promise<string | null> {
  const child = spawn(nativeFile('ploop-stream'), ['token', dst], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const status = await new Promise((resolve) => void child.once('close', resolve));
  return status === 0 ? text.trim() : null;
}

/** One transfer with so many kills, then undisturbed to its end. */
async function transfer(scene: Scene, dst: string, whole: boolean, kills: number): Promise<void> {
  const { figures, random } = scene;
  const fresh = whole ? [] : ['--since', 'one'];
  let outdated = false;
  for (let attempt = 0; ; attempt++) {
    const token: string | null = outdated ? null : await tokenOf(dst);
    figures[token === null ? 'restarted' : 'resumed'] += attempt > 0 ? 1 : 0;
    const pair = start(scene, dst, token === null ? fresh : ['--token', token]);
    const end = ended(pair);
    if (attempt < kills) {
      // The first one when something is kept, which the next one goes on with.
      if (attempt === 0) await untilKept(dst, end);
      await sleep(random() * LONGEST_MS);
      figures.kills += (random() < 0.5 ? pair.sender : pair.receiver).kill('SIGKILL') ? 1 : 0;
    }
    const complete = await end;
    const there = await isThere(dst, whole);
    if (there) break;
    if (complete) scene.figures.wrong.push(`${dst}: both sides ended well and nothing is there`);
    await verifyUntouched(scene, dst, whole);
    // What was kept may be lost between the last frame and the commit: then all is sent again.
    outdated = attempt >= kills && token !== null;
    if (attempt > kills + 3) {
      figures.wrong.push(`${dst}: does not complete`);
      return;
    }
  }
  await verifyComplete(scene, dst);
}

/** Or until the transfer has ended. */
async function untilKept(dst: string, end: Promise<unknown>): Promise<void> {
  const over = end.then(() => true);
  const kept = async (): Promise<boolean> => (await tokenOf(dst)) !== null;
  while (!(await Promise.race([over, kept()]))) await sleep(5);
}

async function isThere(dst: string, whole: boolean): Promise<boolean> {
  if (whole)
    return stat(dst).then(
      () => true,
      () => false,
    );
  return (await listSnapshots(dst)).length > 1;
}

async function verifyUntouched(scene: Scene, dst: string, whole: boolean): Promise<void> {
  if (whole) return;
  const { wrong } = scene.figures;
  if ((await listSnapshots(dst)).length !== 1) wrong.push(`${dst}: some of the snapshots are there`);
  if ((await native.check(dst)).findingsTotal > 0) wrong.push(`${dst}: damaged after a kill`);
}
