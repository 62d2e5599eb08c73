// SPDX-License-Identifier: Apache-2.0
// Fills a mounted file system from a tar archive or a directory, with everything a root file system has: numeric owners,
// modes, times, hard links, device nodes, extended attributes (file capabilities are one), ACLs, holes.
import { open, readFile, statfs } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { syncFileSystem } from './sync.js';
import { checkSource, notAnArchive, type Compression, type Source } from './source.js';

export interface PopulateOptions {
  /** Bytes done and to do: of the archive as it is read, or of the files as they are written. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const PROGRESS_EVERY_MS = 200;
const TAR_FLAG: Readonly<Record<Compression, string>> = { gzip: '--gzip', xz: '--xz', zstd: '--zstd', bzip2: '--bzip2' };

export async function populate(mountPoint: string, source: string | Source, options: PopulateOptions = {}): Promise<void> {
  const from = typeof source === 'string' ? await checkSource(source) : source;
  try {
    await (from.kind === 'archive' ? unpack(mountPoint, from, options) : copy(mountPoint, from.path, options));
    await syncFileSystem(mountPoint);
  } catch (error) {
    throw populateFailure(from, error);
  }
}

async function unpack(mountPoint: string, archive: Source & { kind: 'archive' }, options: PopulateOptions): Promise<void> {
  const args = ['--extract', '--file=-', `--directory=${mountPoint}`, '--numeric-owner', '--same-owner', '--preserve-permissions'];
  args.push(
    '--xattrs',
    '--xattrs-include=*',
    '--acls',
    '--delay-directory-restore',
    '--warning=no-timestamp',
    '--warning=no-unknown-keyword',
  );
  if (archive.compression !== undefined) args.push(TAR_FLAG[archive.compression]);
  const file = await open(archive.path, 'r');
  try {
    // tar (or its decompressor) reads through our open file, so our own offset tells how far it is.
    const position = async (): Promise<number> => {
      const info = await readFile(`/proc/self/fdinfo/${file.fd}`, 'utf8');
      return Math.min(Number(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? 0), archive.sizeBytes);
    };
    await withProgress(position, archive.sizeBytes, options, () => run('tar', args, { input: { fd: file.fd }, signal: options.signal }));
  } finally {
    await file.close();
  }
}

async function copy(mountPoint: string, directory: string, options: PopulateOptions): Promise<void> {
  const { onProgress, signal } = options;
  const totalBytes = onProgress === undefined ? 0 : await sizeOf(directory, signal);
  const usedAtStart = await usedBytes(mountPoint);
  const position = async (): Promise<number> => Math.min(Math.max((await usedBytes(mountPoint)) - usedAtStart, 0), totalBytes);
  const args = ['--archive', '--one-file-system', '--sparse=auto', '--reflink=auto', '--', `${directory}/.`, mountPoint];
  await withProgress(position, totalBytes, options, () => run('cp', args, { signal }));
}

async function sizeOf(directory: string, signal: AbortSignal | undefined): Promise<number> {
  const { stdout } = await run('du', ['-sx', '--block-size=1', directory], { signal, accept: [0, 1] });
  return Number.parseInt(stdout, 10) || 0;
}

async function usedBytes(mountPoint: string): Promise<number> {
  const info = await statfs(mountPoint);
  return (info.blocks - info.bfree) * info.bsize;
}

async function withProgress<T>(
  position: () => Promise<number>,
  total: number,
  options: PopulateOptions,
  work: () => Promise<T>,
): Promise<T> {
  const { onProgress } = options;
  if (onProgress === undefined) return work();
  const report = async (): Promise<void> => {
    // A figure that cannot be had now is had the next time.
    const done = await position().catch(() => undefined);
    if (done !== undefined) onProgress(done, total);
  };
  const timer = setInterval(() => void report(), PROGRESS_EVERY_MS);
  try {
    const result = await work();
    onProgress(total, total);
    return result;
  } finally {
    clearInterval(timer);
  }
}

function populateFailure(source: Source, error: unknown): unknown {
  if (!(error instanceof PloopError) || error.code !== 'TOOL_FAILED') return error;
  const { details } = error;
  const said = typeof details?.stderr === 'string' ? details.stderr : '';
  // tar says of a short write how much it wrote, not why.
  if (/No space left on device|Wrote only \d+ of \d+ bytes/.test(said)) {
    return new PloopError('NO_SPACE', `${source.path} does not fit into the image`, {
      hint: 'Give a larger --size.',
      details,
      cause: error,
    });
  }
  if (source.kind === 'directory') return error;
  if (/does not look like a tar archive|file format not recognized|not in gzip format|format not recognized|unsupported format/i.test(said))
    return notAnArchive(source.path, details);
  if (/Unexpected EOF|unexpected end|premature|truncated|corrupt|data integrity|crc error|Data corruption/i.test(said)) {
    return new PloopError('INVALID_ARGUMENT', `${source.path} is damaged or not complete: ${said.trim().split('\n').at(0) ?? ''}`, {
      details,
      cause: error,
    });
  }
  return error;
}
