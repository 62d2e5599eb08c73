// SPDX-License-Identifier: Apache-2.0
// Packing a mounted ext4: data of sparsely used units moves into the holes of fuller ones, and the emptied units are
// trimmed, so that the host gets them back. The work is done by csrc/tools/ploop-pack.c; docs/guides/packing.md.
import { PloopError } from '../errors.js';
import { startCompanion } from '../exec/companion.js';
import { nativeFile } from '../native/binding.js';
import { rangeLines, type Extent } from './space/extent.js';

export interface PackOptions {
  /** What the host gets back in one piece: the layer's cluster, or its block where the discard policy is that fine. */
  unitBytes: number;
  /** What layers below the writable one show: it is neither moved nor counted, because they keep it wherever it is. */
  below?: readonly Extent[] | undefined;
  /** Only says what it would bring. */
  estimateOnly?: boolean | undefined;
  /** Stops in good order after that long. */
  timeBudgetMs?: number | undefined;
  /** Of file data moved. */
  rateBytesPerSecond?: number | undefined;
  /** While others use the device, a fifth of this much of the time: 1 to 100, default 50. */
  busyPercent?: number | undefined;
  /** Units that are used more than that stay as they are. Default 85. */
  maxFillPercent?: number | undefined;
  onProgress?: ((movedBytes: number, ofBytes: number) => void) | undefined;
  /** Aborted: stops in good order, then INTERRUPTED. What was packed by then stays packed. */
  signal?: AbortSignal | undefined;
}

export interface PackEstimate {
  unitBytes: number;
  /** In use by files and by the file system itself, without what layers below show. */
  usedBytes: number;
  /** All units that hold something: what the host spends at most when everything free is trimmed. */
  heldBytes: number;
  /** The same if what is used were packed without a gap. */
  idealBytes: number;
  /** What a pass would move, and the units it would empty. */
  moveBytes: number;
  gainBytes: number;
  files: number;
  /** Files that have to stay (immutable, append-only, encrypted, verity …), and their data. */
  fixedFiles: number;
  fixedFileBytes: number;
}

export interface PackResult {
  before: PackEstimate;
  /** undefined when nothing was moved. */
  after: PackEstimate | undefined;
  /** 'time': the budget was used up. */
  stopped: 'done' | 'time';
  movedBytes: number;
  movedPieces: number;
  /** Pieces whose files were in use in a way that forbids moving them, or changed meanwhile. */
  busyPieces: number;
  emptiedBytes: number;
  /** What the file system named as free in the units it emptied. */
  trimmedBytes: number;
  /** Pauses that were made because others used the device. */
  gentlePauses: number;
}

type Line =
  | ({ event: 'estimate' | 'after' } & PackEstimate)
  | { event: 'progress'; movedBytes: number; moveBytes: number }
  | ({ event: 'result'; stopped: 'done' | 'time' | 'signal' } & Omit<PackResult, 'before' | 'after' | 'stopped'>);

/**
 * Packs the ext4 mounted on `mountPoint`, a path that may lead into another mount namespace (/proc/PID/root). UNSUPPORTED
 * for what cannot be packed: other file systems, no journal, bigalloc.
 */
export async function packFileSystem(mountPoint: string, options: PackOptions): Promise<PackResult> {
  const { signal, below } = options;
  const input = below === undefined ? undefined : rangeLines(below);
  const packer = await startCompanion(nativeFile('ploop-pack'), [...packArguments(options), mountPoint], { signal, input });
  let before: PackEstimate | undefined;
  let after: PackEstimate | undefined;
  for (;;) {
    const line = JSON.parse(await packer.nextLine().catch((error: unknown) => Promise.reject(packFailure(mountPoint, error)))) as Line;
    if (line.event === 'progress') {
      options.onProgress?.(line.movedBytes, line.moveBytes);
    } else if (line.event === 'result') {
      await packer.finish();
      const { event: _, stopped, ...figures } = line;
      if (stopped === 'signal' || before === undefined) throw new PloopError('INTERRUPTED', `packing ${mountPoint} was interrupted`);
      return { before, after, stopped, ...figures };
    } else {
      const { event, ...estimate } = line;
      if (event === 'estimate') before = estimate;
      else after = estimate;
    }
  }
}

function packArguments(options: PackOptions): string[] {
  const { unitBytes, below, estimateOnly, timeBudgetMs, rateBytesPerSecond, busyPercent, maxFillPercent } = options;
  const args = ['--unit', String(unitBytes)];
  if (below !== undefined) args.push('--below');
  if (estimateOnly === true) args.push('--estimate');
  if (timeBudgetMs !== undefined) args.push('--time', String(Math.max(1, Math.round(timeBudgetMs))));
  if (rateBytesPerSecond !== undefined) args.push('--rate', String(Math.max(1, Math.round(rateBytesPerSecond))));
  if (busyPercent !== undefined) args.push('--busy', String(busyPercent));
  if (maxFillPercent !== undefined) args.push('--max-fill', String(maxFillPercent));
  return args;
}

function packFailure(mountPoint: string, error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED') return error;
  const { details } = error;
  const why = /: cannot pack .*?: (.*)/.exec(error.message)?.[1] ?? error.message;
  const message = `cannot pack ${mountPoint}: ${why}`;
  if (/E(OPNOTSUPP|NOTTY|NODEV)\b/.test(error.message)) {
    return new PloopError('UNSUPPORTED', message, { hint: 'Trim it instead. For xfs, xfs_fsr makes files contiguous.', details });
  }
  if (error.message.includes('EINVAL')) return new PloopError('INVALID_ARGUMENT', message, { details });
  if (error.message.includes('EROFS')) return new PloopError('READ_ONLY', message, { details });
  if (error.message.includes('ENOSPC'))
    return new PloopError('NO_SPACE', `cannot pack ${mountPoint}: nothing is free in its file system`, {
      hint: 'Delete something in it first.',
      details,
    });
  if (/E(PERM|ACCES)\b/.test(error.message)) return new PloopError('NOT_PERMITTED', message, { hint: 'Run the command as root.', details });
  return error;
}
