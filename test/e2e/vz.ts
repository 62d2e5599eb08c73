// SPDX-License-Identifier: Apache-2.0
// The commands as a person runs them, in places of their own below one temporary directory. `withVz` ends whatever the
// test has left: containers, mounts, attachments; also when it fails.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { destroyContainer } from '../../src/container/destroy.js';
import { listContainers } from '../../src/container/list.js';
import { stopContainer } from '../../src/container/stop.js';
import { run } from '../../src/exec/run.js';
import { readersAgree } from '../helpers/agreement.js';
import { takeDown } from '../helpers/take-down.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface Vz {
  directory: string;
  runDir: string;
  vzRoot: string;
  /** Runs `vzctl` (or another of our programs) and hands back how it ended. */
  command(
    program: 'vzctl' | 'vzlist' | 'ploop',
    args: readonly string[],
    options?: { input?: string; signalAfterMs?: number; signal?: NodeJS.Signals },
  ): Promise<Outcome>;
  /** `vzctl`, which must succeed; answers its output without the last line break. */
  vzctl(...args: string[]): Promise<string>;
  /** `vzctl … --json`, which must succeed. */
  json<T>(...args: string[]): Promise<T>;
  /** What `du` says of a container's image. */
  hostBytes(ctid: string): Promise<number>;
}

/** Long enough for a Debian root on a busy machine. */
const COMMAND_LIMIT_MS = 150_000;

export async function withVz<T>(work: (vz: Vz) => Promise<T>): Promise<T> {
  // Not in tmpfs: holes and direct I/O are wanted. A short path: unix sockets take 107 bytes.
  const directory = await mkdtemp('/var/tmp/pvz-');
  const [runDir, vzRoot] = [join(directory, 'run'), join(directory, 'vz')];
  const env = { ...process.env, PLOOP_RUN_DIR: runDir, PLOOP_VZ_ROOT: vzRoot };
  const command: Vz['command'] = (program, args, options = {}) => ours(program, args, { ...options, env });
  const vzctl = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await command('vzctl', args);
    if (status !== 0) throw new Error(`vzctl ${args.join(' ')} ended with ${status}: ${stderr}`);
    return stdout.replace(/\n$/, '');
  };
  try {
    await mkdir(join(vzRoot, 'template/cache'), { recursive: true });
    await mkdir(runDir);
    return await work({
      directory,
      runDir,
      vzRoot,
      command,
      vzctl,
      json: async <J>(...args: string[]) => JSON.parse(await vzctl(...args, '--json')) as J,
      async hostBytes(ctid) {
        await run('sync', ['-f', vzRoot]);
        const { stdout } = await run('du', ['-s', '--block-size=1', join(vzRoot, 'private', ctid)]);
        return Number.parseInt(stdout, 10);
      },
    });
  } finally {
    const failures = await endEverything({ runDir, vzRoot, directory });
    // What could not be ended can still be ended by hand, as long as its files are there.
    if (failures === 0) await readersAgree(vzRoot).finally(() => rm(directory, { recursive: true, force: true }));
    else process.stderr.write(`cleaning up: ${directory} is left\n`);
  }
}

/** Answers how many things could not be ended; each is reported, for it must not hide why the test failed. */
async function endEverything({ directory, ...roots }: { runDir: string; vzRoot: string; directory: string }): Promise<number> {
  let failures = 0;
  const report = (error: unknown): void => {
    failures++;
    process.stderr.write(`cleaning up: ${String(error)}\n`);
  };
  for (const { ctid } of await listContainers(roots)) {
    await stopContainer(ctid, { ...roots, fast: true })
      .then(() => destroyContainer(ctid, roots))
      .catch(report);
  }
  for (const error of await takeDown({ runDir: roots.runDir, directory })) report(error);
  return failures;
}

/** Programs that go on beside a container. */
const LASTING = ['ploopd-keeper', 'ploopd-worker', 'ploop-log', 'ploop-init'];

/** What a killed command has started comes to its end by itself: waits until none of it is left. */
export async function settled(vz: Vz): Promise<void> {
  await expect.poll(() => atWork(vz.runDir), { timeout: 60_000, interval: 20 }).toEqual([]);
}

async function atWork(runDir: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    const words = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
    if (words.split('\0').includes(`PLOOP_RUN_DIR=${runDir}`) && !LASTING.includes(name)) found.push(`${name} (pid ${pid})`);
  }
  return found;
}

/** What is left in the run directory of attachments and containers: [] when everything was undone. */
export async function leftovers(vz: Vz): Promise<string[]> {
  const attachments = (await listAttachments({ runDir: vz.runDir })).map((one) => one.attachment);
  const bundles = await readdir(join(vz.runDir, 'vz/bundle')).catch(() => []);
  return [...attachments, ...bundles];
}

function ours(
  program: string,
  args: readonly string[],
  options: { env: NodeJS.ProcessEnv; input?: string; signalAfterMs?: number; signal?: NodeJS.Signals },
): Promise<Outcome> {
  const script = fileURLToPath(new URL(`../../bin/${program}.js`, import.meta.url));
  const child = spawn(process.execPath, [script, ...args], { env: options.env, stdio: 'pipe' });
  const outcome = { status: -1, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
  child.stdin.on('error', () => undefined).end(options.input ?? '');
  const timer =
    options.signalAfterMs === undefined ? undefined : setTimeout(() => child.kill(options.signal ?? 'SIGINT'), options.signalAfterMs);
  const limit = setTimeout(() => {
    child.kill('SIGKILL');
    outcome.stderr += `\n[killed by the test: did not end within ${COMMAND_LIMIT_MS} ms]\n`;
  }, COMMAND_LIMIT_MS);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearTimeout(limit);
      resolve({ ...outcome, status: code ?? 128 + (signal === null ? 0 : constants.signals[signal]) });
    });
  });
}
