// SPDX-License-Identifier: Apache-2.0
// Holds a mounted file system still, everything written and its journal empty, while something is done underneath.
// The freeze is held by a child (csrc/tools/ploop-fsctl.c) that thaws when its stdin closes: so it ends with this process,
// however that ends, and after `maxMs` in any case.
import { PloopError } from '../errors.js';
import { startCompanion } from '../exec/companion.js';
import { run } from '../exec/run.js';
import { nativeFile } from '../native/binding.js';

export interface FreezeOptions {
  /** Thaws by itself after this long: a container must not hang because something here does. Default 30 s. */
  maxMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface Frozen {
  /** Ends the freeze; TIMEOUT when it had ended by itself before. Idempotent. Answers how long it lasted. */
  thaw(): Promise<{ frozenMs: number }>;
}

/** How long a freeze lasts at most, unless told otherwise. */
export const FREEZE_MAX_MS = 30_000;
const EXPIRED_STATUS = 3;

/** BUSY when somebody else has frozen it. */
export async function freezeFileSystem(mountPoint: string, options: FreezeOptions = {}): Promise<Frozen> {
  const maxMs = options.maxMs ?? FREEZE_MAX_MS;
  const holder = await startCompanion(nativeFile('ploop-fsctl'), ['freeze', mountPoint, String(maxMs)], { signal: options.signal });
  await holder.nextLine().catch((error: unknown) => {
    throw freezeFailure(mountPoint, error);
  });
  const since = performance.now();
  let ending: Promise<{ frozenMs: number }> | undefined;
  return { thaw: () => (ending ??= thaw()) };

  async function thaw(): Promise<{ frozenMs: number }> {
    const { exitCode } = await holder.finish();
    if (exitCode === 0) return { frozenMs: performance.now() - since };
    if (exitCode === EXPIRED_STATUS) {
      throw new PloopError('TIMEOUT', `${mountPoint} was thawed after ${maxMs} ms, before the work on the frozen file system was done`);
    }
    // The holder was killed, or could not thaw: nobody else will.
    await run('fsfreeze', ['--unfreeze', mountPoint], { accept: [0, 1] });
    throw new PloopError(
      'TIMEOUT',
      `the freeze of ${mountPoint} ended before the work was done: its holder ended with status ${exitCode ?? 'unknown'}`,
    );
  }
}

/**
 * Does the work with the file system frozen and always thaws. When the freeze did not last as long as the work, the
 * work's result cannot be trusted to be consistent: TIMEOUT.
 */
export async function withFrozen<T>(
  mountPoint: string,
  work: () => Promise<T>,
  options: FreezeOptions = {},
): Promise<{ result: T; frozenMs: number }> {
  const frozen = await freezeFileSystem(mountPoint, options);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await frozen.thaw().catch(() => undefined);
    throw error;
  }
  return { result, ...(await frozen.thaw()) };
}

function freezeFailure(mountPoint: string, error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED') return error;
  const details = error.details;
  if (error.message.includes('EBUSY')) {
    return new PloopError('BUSY', `${mountPoint} is frozen already, by another command`, {
      hint: `If none is running, thaw it: fsfreeze -u ${mountPoint}`,
      details: { ...details, underWay: 'freeze' },
    });
  }
  if (/E(OPNOTSUPP|NOTTY)/.test(error.message))
    return new PloopError('UNSUPPORTED', `the file system on ${mountPoint} cannot be frozen`, { details });
  if (/E(PERM|ACCES)/.test(error.message))
    return new PloopError('NOT_PERMITTED', `no permission to freeze ${mountPoint}`, { hint: 'Run the command as root.', details });
  return error;
}
