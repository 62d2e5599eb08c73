// SPDX-License-Identifier: Apache-2.0
// The receiving side of `vzctl migrate`, a step at a time, each under the container's lock and each to be repeated safely.
//
//   none --prepare--> copying --register--> registered --start--> here
//                     copying <--cancel---- registered
//
// copying: the image arrives in a hidden directory, and there is no container. registered: it exists, but is marked, so that
// nothing starts it. here: it is ours. A move is known by the container's UUID.

import { access, mkdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { deleteSnapshot } from '../../attach/jobs.js';
import { PloopError } from '../../errors.js';
import { run } from '../../exec/run.js';
import { listSnapshots } from '../../image/snapshots.js';
import { formatSize } from '../../units.js';
import { parseConfig, writeConfig } from '../place/config.js';
import { locateContainer, requireContainer } from '../place/locate.js';
import { withContainerLock } from '../place/lock.js';
import { type ContainerPaths, IMAGE_NAME, type VzRootOptions } from '../place/roots.js';
import { hostCgroups } from '../runtime/cgroups.js';
import { chooseRuntime } from '../runtime/choose.js';
import { startLocked } from '../start.js';
import { isRunning, liveContainer } from '../state.js';
import { releaseImage, unmountContainerImage } from '../storage.js';
import { MOVING_FROM } from './mark.js';

export type IncomingState = 'none' | 'copying' | 'registered' | 'here' | 'other';

export interface Incoming {
  ctid: string;
  state: IncomingState;
  running: boolean;
  /** Where the image has to go. */
  imageDir: string;
}

export interface IncomingDetails {
  uuid: string;
  /** prepare: about how much it needs. */
  hostBytes?: number | undefined;
  /** register: its configuration, where it comes from, and the prefix of snapshots that were for the move alone. */
  config?: string | undefined;
  from?: string | undefined;
  drop?: string | undefined;
  /** start: whether it shall run. */
  start?: boolean | undefined;
}

export type IncomingStep = 'prepare' | 'register' | 'start' | 'cancel';

/** Free space that is left beside what arrives. */
const MARGIN_BYTES = 64 * 2 ** 20;

interface At {
  paths: ContainerPaths;
  options: VzRootOptions;
  state: IncomingState;
}

const STEPS: Record<IncomingStep, (at: At, details: IncomingDetails) => Promise<void>> = { prepare, register, start, cancel };

export async function incomingStep(
  ctid: string,
  step: IncomingStep,
  details: IncomingDetails,
  options: VzRootOptions = {},
): Promise<Incoming> {
  const located = (await locateContainer(ctid, options)).paths;
  return withContainerLock(located, 'vzctl incoming', async () => {
    await STEPS[step](await look(ctid, details.uuid, options), details);
    const { paths, state } = await look(ctid, details.uuid, options);
    const running = isRunning(await liveContainer(paths));
    return { ctid, state, running, imageDir: join(paths.incomingDir, IMAGE_NAME) };
  });
}

const noteFile = (dir: string): string => join(dir, 'incoming');

async function look(ctid: string, uuid: string, options: VzRootOptions): Promise<At> {
  const { paths, config } = await locateContainer(ctid, options);
  if (config !== null) {
    const registered = config.get(MOVING_FROM) === undefined ? 'here' : 'registered';
    return { paths, options, state: config.get('UUID') === uuid ? registered : 'other' };
  }
  // Killed between two steps: it was not registered yet, or just taken back.
  const { privateDir, incomingDir } = paths;
  if ((await noteOf(privateDir)) === uuid && !(await exists(incomingDir))) await rename(privateDir, incomingDir);
  if (await exists(privateDir)) return { paths, options, state: 'other' };
  if (!(await exists(incomingDir))) return { paths, options, state: 'none' };
  return { paths, options, state: (await noteOf(incomingDir)) === uuid ? 'copying' : 'other' };
}

async function prepare(at: At, details: IncomingDetails): Promise<void> {
  const { paths, state } = at;
  if (state === 'other' || state === 'here') throw taken(paths);
  const { mode } = await hostCgroups();
  await chooseRuntime(mode);
  if (state === 'registered') await cancel(at);
  await mkdir(paths.roots.privateDir, { recursive: true, mode: 0o700 });
  await mkdir(paths.roots.confDir, { recursive: true });
  await mkdir(paths.roots.runDir, { recursive: true, mode: 0o755 });
  await requireRoom(paths, details.hostBytes ?? 0);
  await mkdir(paths.incomingDir, { recursive: true, mode: 0o700 });
  await writeFile(noteFile(paths.incomingDir), details.uuid, { flush: true });
}

async function requireRoom(paths: ContainerPaths, hostBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(paths.roots.privateDir);
  const there = (await exists(paths.incomingDir)) ? await usedBytes(paths.incomingDir) : 0;
  const needed = Math.max(0, hostBytes - there) + MARGIN_BYTES;
  if (bavail * bsize >= needed) return;
  throw new PloopError(
    'NO_SPACE',
    `${paths.roots.privateDir}: container ${paths.ctid} needs ${formatSize(needed)}, and ${formatSize(bavail * bsize)} are free`,
    { hint: 'Make room there, or make the image smaller here first: vzctl compact' },
  );
}

export async function usedBytes(dir: string): Promise<number> {
  const { stdout } = await run('du', ['-s', '--block-size=1', dir]);
  return Number.parseInt(stdout, 10);
}

async function register({ paths, state }: At, details: IncomingDetails): Promise<void> {
  if (state === 'registered') return;
  const { config: text, from, drop } = details;
  if (state !== 'copying' || text === undefined || from === undefined) throw notArrived(paths, state);
  const image = join(paths.incomingDir, IMAGE_NAME);
  const mine = (await listSnapshots(image)).filter(({ name }) => drop !== undefined && name?.startsWith(drop) === true);
  for (const { id } of mine.toReversed()) await deleteSnapshot(image, id, { runDir: paths.roots.runDir });
  const config = parseConfig(text, basename(paths.confFile));
  config.set('VE_ROOT', join(paths.roots.rootDir, '$VEID'));
  config.set('VE_PRIVATE', join(paths.roots.privateDir, '$VEID'));
  config.set(MOVING_FROM, from);
  await mkdir(paths.mountPoint, { recursive: true, mode: 0o700 });
  await rename(paths.incomingDir, paths.privateDir);
  await writeConfig(paths.confFile, config);
}

/** Unmarked when it runs: until then a start that failed is undone, and one that was killed is done again. */
async function start({ paths, options, state }: At, details: IncomingDetails): Promise<void> {
  if (state === 'here') return;
  if (state !== 'registered') throw notArrived(paths, state);
  if (details.start === true && !isRunning(await liveContainer(paths))) await startLocked(paths.ctid, options);
  const { config } = await requireContainer(paths.ctid, options);
  config.delete(MOVING_FROM);
  await writeConfig(paths.confFile, config);
  await rm(noteFile(paths.privateDir), { force: true });
}

/** The container is the source's again, unless it runs here already; what has arrived stays for another attempt. */
async function cancel(at: At): Promise<void> {
  const { paths, state } = at;
  if (state !== 'registered') return;
  if (isRunning(await liveContainer(paths))) return start(at, { uuid: '' });
  await unmountContainerImage(paths);
  await releaseImage(paths.imageDir, paths.roots);
  await rm(paths.confFile);
  await rename(paths.privateDir, paths.incomingDir);
}

function taken({ ctid, confFile }: ContainerPaths): PloopError {
  return new PloopError('EXISTS', `there is a container ${ctid} already, or what is left of one (${confFile})`, {
    hint: `Remove it there with: vzctl destroy ${ctid}`,
  });
}

function notArrived({ ctid }: ContainerPaths, state: IncomingState): PloopError {
  return new PloopError('NOT_FOUND', `container ${ctid} has not arrived here (${state})`, {
    hint: 'Begin again on the source: vzctl migrate',
  });
}

function noteOf(dir: string): Promise<string | null> {
  return readFile(noteFile(dir), 'utf8').catch(() => null);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
