// SPDX-License-Identifier: Apache-2.0
// Telling the image which blocks a mounted file system does not need: free space, and ext4's journal.
import { PloopError } from '../errors.js';
import { startCompanion } from '../exec/companion.js';
import { run } from '../exec/run.js';
import { nativeFile } from '../native/binding.js';
import { rangeLines, type Extent } from './space/extent.js';
import { syncFileSystem } from './sync.js';

export interface TrimOptions {
  /** Aborted: stops, then INTERRUPTED. What was trimmed by then is trimmed. */
  signal?: AbortSignal | undefined;
  /** Only these, in order of place: [first byte, first byte after]. Default: all of the file system. */
  ranges?: readonly Extent[] | undefined;
  /** Shorter free extents stay as they are. */
  minLengthBytes?: number | undefined;
  /**
   * Of the time that calls may take, from 1 to 100. Default 50: as long a pause as the call before it took. A fifth of it while others
   * use the device.
   */
  busyPercent?: number | undefined;
  /** Stops in good order after that long. */
  timeBudgetMs?: number | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Trimmed {
  /** 'time': the budget was used up. */
  stopped: 'done' | 'time';
  /** What the file system named as free (not what the host got back). */
  trimmedBytes: number;
  calls: number;
  /** What the longest call took: others may have had to wait for that long. */
  longestUs: number;
  /** Pauses that were made longer, because others used the device. */
  gentlePauses: number;
}

type Line = { event: 'progress'; doneBytes: number; ofBytes: number } | ({ event: 'result' } & Trimmed);

/** Like fstrim(8), but in small ranges with pauses, long free extents first: csrc/tools/ploop-trim.c. */
export async function trimFileSystem(mountPoint: string, options: TrimOptions = {}): Promise<Trimmed> {
  const { signal, onProgress, ranges } = options;
  const input = ranges === undefined ? undefined : rangeLines(ranges);
  // ext4 does not trim what was freed in a transaction that is not committed yet.
  await syncFileSystem(mountPoint);
  const trimmer = await startCompanion(nativeFile('ploop-trim'), [...trimArguments(options), mountPoint], { signal, input });
  for (;;) {
    const line = JSON.parse(await trimmer.nextLine().catch((error: unknown) => Promise.reject(trimFailure(error)))) as Line;
    if (line.event === 'progress') {
      onProgress?.(line.doneBytes, line.ofBytes);
    } else {
      await trimmer.finish();
      const { event: _, ...figures } = line;
      return figures;
    }
  }
}

function trimArguments({ ranges, minLengthBytes, busyPercent, timeBudgetMs }: TrimOptions): string[] {
  const args: string[] = ranges === undefined ? [] : ['--ranges'];
  if (minLengthBytes !== undefined) args.push('--min-length', String(minLengthBytes));
  if (busyPercent !== undefined) args.push('--busy', String(busyPercent));
  if (timeBudgetMs !== undefined) args.push('--time', String(Math.max(1, Math.round(timeBudgetMs))));
  return args;
}

function trimFailure(error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED' || !error.message.includes('EOPNOTSUPP')) return error;
  return new PloopError('UNSUPPORTED', 'the file system or its device cannot be trimmed', { cause: error });
}

/**
 * ext4: writes back what the journal holds and discards its blocks, which fstrim leaves alone: up to the whole journal
 * (16 MiB in most images). false where the kernel (before 5.14) or the file system cannot do it.
 */
export async function trimJournal(mountPoint: string, options: TrimOptions = {}): Promise<boolean> {
  // What the journal holds gets to its place now; who writes would have to wait for that in the call.
  await syncFileSystem(mountPoint);
  const { exitCode, stderr } = await run(nativeFile('ploop-fsctl'), ['trim-journal', mountPoint], {
    accept: [0, 1],
    signal: options.signal,
  });
  if (exitCode === 0) return true;
  if (/^(ENOTTY|EOPNOTSUPP|EINVAL|EROFS|ENOSYS|EPERM):/.test(stderr)) return false;
  throw new PloopError('IO', stderr.trim().replace(/^\w+: /, ''));
}
