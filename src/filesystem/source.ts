// SPDX-License-Identifier: Apache-2.0
// What an image can be filled from: a directory, or a tar archive, plain or compressed, recognised by its content.
import { open, stat, type FileHandle } from 'node:fs/promises';

import { PloopError } from '../errors.js';
import { findProgram } from '../exec/find.js';

export type Compression = 'gzip' | 'xz' | 'zstd' | 'bzip2';

export type Source =
  { kind: 'directory'; path: string } | { kind: 'archive'; path: string; compression: Compression | undefined; sizeBytes: number };

const SIGNATURES: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
];

const TAR_BLOCK_BYTES = 512;

/** Looks before anything is made: exists, is a directory or an archive, and the tools to unpack it are there. */
export async function checkSource(path: string): Promise<Source> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EACCES') throw new PloopError('NOT_PERMITTED', `no permission to read ${path}`, { cause: error });
    throw new PloopError('NOT_FOUND', `${path} does not exist`, { cause: error });
  });
  if (found.isDirectory()) {
    await findProgram('cp');
    return { kind: 'directory', path };
  }
  if (!found.isFile()) throw new PloopError('INVALID_ARGUMENT', `${path} is neither a tar archive nor a directory`);
  await findProgram('tar');
  const compression = await compressionOf(path);
  if (compression !== undefined) await findProgram(compression);
  return { kind: 'archive', path, compression, sizeBytes: found.size };
}

/** undefined: a plain tar archive. What is neither is refused. */
async function compressionOf(path: string): Promise<Compression | undefined> {
  const file = await open(path, 'r');
  try {
    const block = await firstBlock(file);
    const compression = SIGNATURES.find(([, bytes]) => bytes.every((byte, at) => block[at] === byte))?.[0];
    if (compression === undefined && !isTarHeader(block)) throw notAnArchive(path);
    return compression;
  } finally {
    await file.close();
  }
}

async function firstBlock(file: FileHandle): Promise<Buffer> {
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  const { bytesRead } = await file.read(block, 0, TAR_BLOCK_BYTES, 0);
  return block.subarray(0, bytesRead);
}

export function notAnArchive(path: string, details?: Record<string, unknown>): PloopError {
  return new PloopError('INVALID_ARGUMENT', `${path} is not a tar archive (plain, .gz, .xz, .zst or .bz2)`, {
    hint: 'Give a root file system as tar archive, or a directory.',
    details,
  });
}

/** Every tar dialect keeps a checksum of the header in bytes 148–155, taken with these bytes as spaces. */
function isTarHeader(block: Buffer): boolean {
  if (block.length < TAR_BLOCK_BYTES) return false;
  const claimed = Number.parseInt(block.toString('latin1', 148, 156).replaceAll('\0', ' ').trim(), 8);
  let sum = 8 * 0x20;
  for (const [at, byte] of block.entries()) if (at < 148 || at >= 156) sum += byte;
  return claimed === sum;
}
