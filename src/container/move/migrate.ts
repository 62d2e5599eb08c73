// SPDX-License-Identifier: Apache-2.0
// Moving a container to another host, which runs the steps of incoming.ts through ssh. Offline, or with its disk copied while
// it runs, so that it is stopped for what has changed since alone. docs/container.md says what happens when either side dies.
//
//   ours --prepare, copy, stop, copy, register--> ours, and registered there
//        --marked here--> undecided --start there--> theirs --remove here--> gone
//                                   --cancel there--> ours

import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { deleteSnapshot } from '../../attach/jobs.js';
import { PloopError } from '../../errors.js';
import { listSnapshots } from '../../image/snapshots.js';
import { copyImage, type CopyOptions, type CopyRound } from '../../stream/copy.js';
import { remoteHost, type RemoteHost } from '../../stream/remote.js';
import { removeContainer } from '../destroy.js';
import { type ContainerConfig, writeConfig } from '../place/config.js';
import { requireContainer } from '../place/locate.js';
import { withContainerLock } from '../place/lock.js';
import type { ContainerPaths, VzRootOptions } from '../place/roots.js';
import { startLocked } from '../start.js';
import { isMounted, isRunning, liveContainer } from '../state.js';
import { stopLocked } from '../stop.js';
import { releaseImage, unmountContainerImage } from '../storage.js';
import type { Incoming, IncomingDetails, IncomingStep } from './incoming.js';
import { usedBytes } from './incoming.js';
import { undecided, untoldFailure, type Whose } from './failures.js';
import { MOVING_RAN, MOVING_TO } from './mark.js';

export interface MigrateOptions extends VzRootOptions, Pick<CopyOptions, 'restBytes' | 'maxRounds' | 'level' | 'onRound' | 'onProgress'> {
  /** Copy the disk while the container runs, and stop it for what has changed since alone. */
  live?: boolean | undefined;
  /** Keep the stopped container here, under other names. */
  keep?: boolean | undefined;
  /** Kill everything at once instead of shutting down. */
  fast?: boolean | undefined;
  timeoutMs?: number | undefined;
  /** The program, with its arguments, that reaches the other host. Default ssh. */
  rsh?: readonly string[] | undefined;
  onStep?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface MigratedContainer {
  ctid: string;
  to: string;
  /** It runs there now. */
  running: boolean;
  rounds: CopyRound[];
  /** From the beginning of the stop here to the start there; null: it was not running. */
  downtimeMs: number | null;
  /** Where its private area is kept here; null: it was removed. */
  kept: string | null;
}

interface Move {
  ctid: string;
  paths: ContainerPaths;
  config: ContainerConfig;
  uuid: string;
  host: RemoteHost;
  options: MigrateOptions;
  ran: boolean;
  rounds: CopyRound[];
}

/** Names of the snapshots that are for the move alone. */
const PREFIX = 'migrate-';

export async function migrateContainer(ctid: string, host: string, options: MigrateOptions = {}): Promise<MigratedContainer> {
  const remote = remoteHost(host, options.rsh ?? ['ssh']);
  const located = (await requireContainer(ctid, options)).paths;
  return withContainerLock(located, 'vzctl migrate', async () => {
    const { paths, config } = await requireContainer(ctid, options);
    const uuid = config.get('UUID') ?? randomUUID();
    const move: Move = { ctid, paths, config, uuid, host: remote, options, ran: false, rounds: [] };
    if (options.keep === true) await refuseKept(paths);
    if (config.get(MOVING_TO) !== undefined && (await goOn(move)))
      return finish(move, { running: await runsThere(move), downtimeMs: null });
    return begin(move);
  });
}

const whose = ({ ctid, host, options }: Move): Whose => ({ ctid, host: host.host, interrupted: options.signal?.aborted === true });

/** One of the steps there. */
function there(move: Move, step: IncomingStep, details: Omit<IncomingDetails, 'uuid'> = {}, signal?: AbortSignal): Promise<Incoming> {
  const words = ['incoming', step, move.ctid, '--details', JSON.stringify({ ...details, uuid: move.uuid })];
  return move.host.ask<Incoming>('vzctl', words, signal);
}

async function runsThere(move: Move): Promise<boolean> {
  return (await there(move, 'start')).running;
}

// ---- an earlier attempt that was cut off between the mark and its end ----

/** True: it is theirs. False: it is ours again. */
async function goOn(move: Move): Promise<boolean> {
  const to = move.config.get(MOVING_TO);
  move.ran = move.config.get(MOVING_RAN) === 'yes';
  if (to !== move.host.host) {
    throw new PloopError('MOVING', `container ${move.ctid} is being moved to ${to}, not to ${move.host.host}`, {
      hint: `Finish that first: vzctl migrate ${move.ctid} ${to}`,
    });
  }
  move.options.onStep?.(`Going on with the move to ${to}`);
  // Also waits for a step there that is still under way, and undoes what is not decided.
  const { state } = await there(move, 'cancel');
  if (state === 'here') return true;
  await unmark(move);
  return false;
}

// ---- from the beginning ----

async function begin(move: Move): Promise<MigratedContainer> {
  const { paths, options } = move;
  const running = isRunning(await liveContainer(paths));
  move.ran ||= running;
  if (!running && (await isMounted(paths))) {
    throw new PloopError('MOUNTED', `container ${move.ctid} is mounted on ${paths.mountPoint}`, {
      hint: `Unmount it first: vzctl umount ${move.ctid}`,
    });
  }
  if (move.config.get('UUID') === undefined) await save(move, () => move.config.set('UUID', move.uuid));
  const { imageDir } = await there(move, 'prepare', { hostBytes: await usedBytes(paths.imageDir) }, options.signal);
  const to = `${move.host.host}:${imageDir}`;
  if (running && options.live === true) {
    options.onStep?.('Copying its disk while it runs');
    await copy(move, to, { live: true, keep: `${PREFIX}${randomBytes(4).toString('hex')}` });
  }
  const begun = performance.now();
  try {
    await standStill(move, running);
    options.onStep?.('Copying what has changed since');
    await copy(move, to, {});
    options.onStep?.('Handing over');
    await there(move, 'register', { config: move.config.toString(), from: hostname(), drop: PREFIX }, options.signal);
    options.signal?.throwIfAborted();
  } catch (error) {
    // Not marked here, so it is ours whatever the other side knows of it.
    const untold = await there(move, 'cancel').then(
      () => null,
      (reason: unknown) => reason,
    );
    if (running) await startAgain(move);
    throw untold === null ? error : untoldFailure(whose(move), error, untold);
  }
  const now = await handOver(move);
  return finish(move, { running: now.running, downtimeMs: running ? Math.round(performance.now() - begun) : null });
}

async function copy(move: Move, to: string, how: CopyOptions): Promise<void> {
  const { rsh, restBytes, maxRounds, level, onRound, onProgress, signal } = move.options;
  const { rounds } = await copyImage(move.paths.imageDir, to, {
    ...how,
    // Nobody else has what is there.
    force: true,
    runDir: move.paths.roots.runDir,
    ...(how.live === true ? { restBytes, maxRounds } : {}),
    rsh,
    level,
    onRound,
    onProgress,
    signal,
  });
  move.rounds.push(...rounds.map((one) => ({ ...one, round: move.rounds.length + one.round })));
}

async function standStill(move: Move, running: boolean): Promise<void> {
  const { fast, timeoutMs, signal, onStep } = move.options;
  if (running) onStep?.('Stopping it');
  if (running) await stopLocked(move.paths, { fast, timeoutMs, signal });
  else await unmountContainerImage(move.paths);
}

/** As it was before. Its failure must not hide why the move has failed. */
async function startAgain(move: Move): Promise<void> {
  const { vzRoot, runDir, onStep } = move.options;
  await startLocked(move.ctid, { vzRoot, runDir }).then(
    () => onStep?.('It failed; the container was started here again'),
    (error: unknown) => onStep?.(`It failed, and the container could not be started here again: ${String(error)}`),
  );
}

// ---- whose it is ----

async function save(move: Move, change: () => void): Promise<void> {
  change();
  await writeConfig(move.paths.confFile, move.config);
}

async function unmark(move: Move): Promise<void> {
  await save(move, () => [MOVING_TO, MOVING_RAN].forEach((key) => move.config.delete(key)));
}

/** From the mark on it is not ours until the other side says so; nothing interrupts this. */
async function handOver(move: Move): Promise<Incoming> {
  await save(move, () => {
    move.config.set(MOVING_TO, move.host.host);
    move.config.set(MOVING_RAN, move.ran ? 'yes' : 'no');
  });
  try {
    return await there(move, 'start', { start: move.ran });
  } catch (error) {
    // A step there that we have lost is waited for: it has the lock.
    const decided = await there(move, 'cancel').catch(() => null);
    if (decided === null) throw undecided(whose(move), error);
    if (decided.state === 'here') return decided;
    await unmark(move);
    if (move.ran) await startAgain(move);
    throw error;
  }
}

// ---- it is theirs ----

function keptDir({ privateDir, ctid }: ContainerPaths): string {
  return join(dirname(privateDir), `.${ctid}.migrated`);
}

async function refuseKept(paths: ContainerPaths): Promise<void> {
  if ((await stat(keptDir(paths)).catch(() => null)) === null) return;
  throw new PloopError('EXISTS', `${keptDir(paths)} is there already, from an earlier move`, { hint: 'Remove it, or do not give --keep.' });
}

async function finish(move: Move, told: Pick<MigratedContainer, 'running' | 'downtimeMs'>): Promise<MigratedContainer> {
  const { paths, ctid, options, rounds } = move;
  const moved = { ctid, to: move.host.host, ...told, rounds };
  if (options.keep !== true) {
    await removeContainer(paths);
    return { ...moved, kept: null };
  }
  const { runDir } = paths.roots;
  for (const { id, name } of (await listSnapshots(paths.imageDir)).toReversed())
    if (name?.startsWith(PREFIX) === true) await deleteSnapshot(paths.imageDir, id, { runDir });
  await releaseImage(paths.imageDir, paths.roots);
  await rename(paths.privateDir, keptDir(paths));
  await rename(paths.confFile, `${paths.confFile}.migrated`);
  return { ...moved, kept: keptDir(paths) };
}
