// SPDX-License-Identifier: Apache-2.0
// Drives the runtime's own commands. Every state shown anywhere comes from here, that is, from the runtime.
//
// The bundle directory holds config.json, runtime.json (which runtime made the container: it must be asked again even
// when the default changes) and runtime.log (what the runtime says). What init writes goes to <run>/vz/log/<id>, bounded,
// and stays after the container has ended.

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { PloopError } from '../../errors.js';
import { run, type RunOptions, type RunResult } from '../../exec/run.js';
import { nativeFile } from '../../native/binding.js';
import type { ContainerPaths } from '../place/roots.js';
import { cgroupPath, hostCgroups, type HostCgroups, removeCgroup } from './cgroups.js';
import type { RuntimeKind, RuntimeProgram } from './choose.js';

const LOG_LIMIT_BYTES = String(512 * 1024);

/** A runtime, and the container it is asked about. */
export interface Runtime extends RuntimeProgram {
  id: string;
  bundleDir: string;
  logFile: string;
  stateDir: string;
  cgroups: HostCgroups;
}

/** As the OCI runtime specification has it; runc and crun add "paused". */
export type RuntimeStatus = 'creating' | 'created' | 'running' | 'stopped' | 'paused';

export interface RuntimeState {
  status: RuntimeStatus;
  pid: number;
}

export function runtimeFor(paths: ContainerPaths, program: RuntimeProgram, cgroups: HostCgroups): Runtime {
  const stateDir = join(paths.roots.runDir, 'vz', 'state', basename(program.path));
  return { ...program, id: paths.runtimeId, bundleDir: paths.bundleDir, logFile: paths.logFile, stateDir, cgroups };
}

/** The runtime that made the container's present incarnation; null when there is none. */
export async function recordedRuntime(paths: ContainerPaths, cgroups?: HostCgroups): Promise<Runtime | null> {
  const text = await readFile(join(paths.bundleDir, 'runtime.json'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    // Not "it does not run": we may not know.
    throw new PloopError('NOT_PERMITTED', `only root may ask about container ${paths.ctid}`, {
      hint: 'Run the command as root.',
      cause: error,
    });
  });
  if (text === null) return null;
  const { kind, path } = JSON.parse(text) as { kind: RuntimeKind; path: string };
  return runtimeFor(paths, { kind, path }, cgroups ?? (await hostCgroups()));
}

/** Writes the bundle and starts the container: when this returns, its init runs. */
export async function startContainer(runtime: Runtime, config: Record<string, unknown>, signal?: AbortSignal): Promise<void> {
  await rm(runtime.bundleDir, { recursive: true, force: true });
  await mkdir(runtime.bundleDir, { recursive: true, mode: 0o700 });
  await mkdir(runtime.stateDir, { recursive: true, mode: 0o700 });
  await writeFile(join(runtime.bundleDir, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await writeFile(join(runtime.bundleDir, 'runtime.json'), `${JSON.stringify({ kind: runtime.kind, path: runtime.path })}\n`);
  await mkdir(dirname(runtime.logFile), { recursive: true, mode: 0o700 });
  await rm(runtime.logFile, { force: true });
  try {
    await command(runtime, ['create', '--bundle', runtime.bundleDir, runtime.id], { signal });
    await command(runtime, ['start', runtime.id]);
  } catch (error) {
    await deleteContainer(runtime).catch(() => undefined);
    throw error;
  }
}

/** runc has a sentence; crun says which file it missed. */
const UNKNOWN_CONTAINER = /does not exist|\/status`: No such file or directory/;

/** null: the runtime has no such container. */
export async function runtimeState(runtime: Runtime): Promise<RuntimeState | null> {
  await mkdir(runtime.stateDir, { recursive: true, mode: 0o700 });
  const { exitCode, stdout, stderr } = await command(runtime, ['state', runtime.id], { accept: [0, 1] });
  if (exitCode !== 0) {
    if (UNKNOWN_CONTAINER.test(stderr)) return null;
    throw new PloopError('TOOL_FAILED', `${runtime.path} state ${runtime.id} failed: ${stderr.trim()}`);
  }
  return parseState(stdout, runtime);
}

/** The state of every container of this runtime, in one call; for lists. */
export async function runtimeStates(runtime: Runtime): Promise<Map<string, RuntimeState>> {
  await mkdir(runtime.stateDir, { recursive: true, mode: 0o700 });
  const { stdout } = await command(runtime, ['list', '--format', 'json']);
  const list = (JSON.parse(stdout.trim() || 'null') ?? []) as { id: string; status: RuntimeStatus; pid: number }[];
  return new Map(list.map(({ id, status, pid }) => [id, { status, pid }]));
}

export async function killContainer(runtime: Runtime, signal: number): Promise<void> {
  const { exitCode, stderr } = await command(runtime, ['kill', runtime.id, String(signal)], { accept: 'any' });
  // It ended by itself meanwhile: what was wanted.
  if (exitCode !== 0 && !/not running|does not exist|process already finished/.test(stderr)) {
    throw new PloopError('TOOL_FAILED', `${runtime.path} could not signal ${runtime.id}: ${stderr.trim()}`);
  }
}

/** Removes what the runtime keeps of a container, killing what is left of it, and the bundle. */
export async function deleteContainer(runtime: Runtime): Promise<void> {
  await command(runtime, ['delete', '--force', runtime.id], { accept: 'any' });
  if ((await runtimeState(runtime)) !== null) {
    throw new PloopError('TOOL_FAILED', `${runtime.path} could not delete ${runtime.id}`, {
      hint: `Look at what it says: ${runtime.path} --root ${runtime.stateDir} delete --force ${runtime.id}`,
    });
  }
  // What is left of a creation that was killed half-way, the runtime itself does not see.
  await rm(join(runtime.stateDir, runtime.id), { recursive: true, force: true });
  const groups = [...runtime.cgroups.v1, ...(runtime.cgroups.unified === null ? [] : [runtime.cgroups.unified])];
  for (const group of groups) await removeCgroup(join(group, cgroupPath(runtime.id)));
  await rm(runtime.bundleDir, { recursive: true, force: true });
}

/** The program and arguments that run `args` inside the container. */
export async function execArguments(
  runtime: Runtime,
  params: { tty: boolean; env: readonly string[]; args: readonly string[] },
): Promise<[string, string[]]> {
  const options = ['--cwd', '/', ...params.env.flatMap((one) => ['--env', one]), ...(params.tty ? ['--tty'] : [])];
  return invocation(runtime, ['exec', ...options, runtime.id, ...params.args]);
}

function parseState(text: string, runtime: Runtime): RuntimeState {
  const { status, pid } = JSON.parse(text) as Partial<RuntimeState>;
  if (status === undefined) throw new PloopError('TOOL_FAILED', `${runtime.path} state ${runtime.id}: no status in its answer`);
  return { status, pid: pid ?? 0 };
}

async function command(runtime: Runtime, args: string[], options: RunOptions = {}): Promise<RunResult> {
  let [program, words] = await invocation(runtime, args);
  // Init inherits the output of `create`: it must neither end with us nor fill the host.
  if (args[0] === 'create') [program, words] = [nativeFile('ploop-log'), [runtime.logFile, LOG_LIMIT_BYTES, program, ...words]];
  try {
    return await run(program, words, options);
  } catch (error) {
    throw await explained(runtime, args, error);
  }
}

/**
 * The whole command line. crun refuses hybrid cgroups, so there it runs where only v1 is to be seen; what starts a process
 * in the container first enters a v2 group of the container's own, or it would be in the caller's.
 */
async function invocation(runtime: Runtime, args: string[]): Promise<[string, string[]]> {
  const globals = ['--root', runtime.stateDir];
  // Only where its error output is not ours to read.
  if (runtime.kind !== 'other' && args[0] === 'create')
    globals.push('--log', join(runtime.bundleDir, 'runtime.log'), '--log-format', 'json');
  if (runtime.kind === 'crun') globals.push('--cgroup-manager=cgroupfs');
  const { mode, unified } = runtime.cgroups;
  if (runtime.kind !== 'crun' || mode !== 'hybrid' || unified === null) return [runtime.path, [...globals, ...args]];
  let group = '-';
  if (args[0] === 'create' || args[0] === 'exec') {
    group = join(unified, cgroupPath(runtime.id));
    await mkdir(join(unified, 'ploop'), { recursive: true });
  }
  return [nativeFile('ploop-cgroup1'), [unified, group, runtime.path, ...globals, ...args]];
}

/** The runtime's reason, which is in its log when its output went elsewhere. */
async function explained(runtime: Runtime, args: string[], error: unknown): Promise<unknown> {
  if (args[0] !== 'create' || !(error instanceof PloopError)) return error;
  if (error.code === 'INTERRUPTED') return new PloopError('INTERRUPTED', 'interrupted while the container was created', { cause: error });
  if (error.code !== 'TOOL_FAILED') return error;
  const log = await readFile(join(runtime.bundleDir, 'runtime.log'), 'utf8').catch(() => '');
  const reason = lastError(log);
  if (reason === null) return error;
  return new PloopError('TOOL_FAILED', `${basename(runtime.path)} ${args[0] ?? ''} of ${runtime.id} failed: ${reason}`, {
    details: error.details,
    cause: error,
  });
}

function lastError(log: string): string | null {
  for (const line of log.trim().split('\n').reverse()) {
    try {
      const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
      if (level === 'error' || level === 'fatal') return msg ?? null;
    } catch {
      continue;
    }
  }
  return null;
}
