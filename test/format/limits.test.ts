// SPDX-License-Identifier: Apache-2.0
// Headers at and beyond the limits of the format, with right checksums: the C core and the second reader take and refuse the same.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { native } from '../../src/native/index.js';
import { crc32c, LayerFile, PAGE } from '../helpers/reader/bytes.js';
import { type Header, readHeader } from '../helpers/reader/header.js';
import { PlainReader } from '../helpers/reader/image.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const GIB = 2 ** 30;
const K = 1024n;

let scratch: Scratch;
let path: string;
let original: Buffer;
let header: Header;

beforeAll(async () => {
  scratch = await makeScratch();
  await native.create(scratch.path('image'), { size: GIB });
  path = join(scratch.path('image'), 'layers', readdirSync(join(scratch.path('image'), 'layers'))[0] ?? '');
  original = readFileSync(path);
  const file = new LayerFile(path);
  header = readHeader(file);
  file.close();
});
afterAll(() => scratch.clean());

/** Offset in the header page, bytes, new value. */
type Edit = readonly [offset: number, width: 4 | 8, value: bigint];

function writeHeader(edits: readonly Edit[]): void {
  const bytes = Buffer.from(original);
  const page = bytes.subarray(0, PAGE);
  for (const [offset, width, value] of edits)
    if (width === 4) page.writeUInt32LE(Number(value), offset);
    else page.writeBigUInt64LE(value, offset);
  page.writeUInt32LE(0, 16);
  page.writeUInt32LE(crc32c(0, page), 16);
  page.copy(bytes, PAGE);
  writeFileSync(path, bytes);
}

function plainVerdict(): 'taken' | 'refused' {
  try {
    using reader = new PlainReader(scratch.path('image'));
    reader.read(0, 65536);
    return 'taken';
  } catch (error) {
    if ((error as Error).name !== 'Rejected') throw error;
    return 'refused';
  }
}

async function coreVerdict(): Promise<'taken' | 'refused'> {
  try {
    await using reader = await native.openReader(scratch.path('image'));
    await reader.read(0, 65536);
    return 'taken';
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/CORRUPT|UNSUPPORTED_FEATURE/) as string });
    return 'refused';
  }
}

const FAR = 2n ** 40n;
const dirOff = (value: bigint): Edit => [112, 8, value];
const dirPages = (value: bigint): Edit => [120, 8, value];
const journalOff = (value: bigint): Edit => [136, 8, value];
const journalLen = (value: bigint): Edit => [144, 8, value];
const firstCluster = (value: bigint): Edit => [168, 8, value];
/** The directory out of the way, behind everything. */
const away: Edit = dirOff(FAR);

const CASES: readonly (readonly [string, 'taken' | 'refused', () => readonly Edit[]])[] = [
  ['nothing changed', 'taken', () => []],
  ['another version (FMT-012)', 'refused', () => [[8, 4, 2n]]],
  ['an incompatible bit (FMT-016)', 'refused', () => [[32, 8, 1n << 63n]]],
  ['a compatible bit (FMT-017)', 'taken', () => [[40, 8, 1n << 63n]]],
  ['an auto-clear bit (FMT-017)', 'taken', () => [[48, 8, 1n << 63n]]],
  ['block size 2048 (FMT-014)', 'refused', () => [[96, 4, 2048n]]],
  ['block size 12288 (FMT-014)', 'refused', () => [[96, 4, 12288n]]],
  ['block size 131072 (FMT-014)', 'refused', () => [[96, 4, 131072n]]],
  ['no virtual size (FMT-014)', 'refused', () => [[88, 8, 0n]]],
  ['part of a block (FMT-014)', 'refused', () => [[88, 8, 4097n]]],
  ['one block', 'taken', () => [[88, 8, 16n * 4096n]]],
  ['2^34 blocks', 'taken', () => [[88, 8, 1n << 46n], dirPages(5000n), away]],
  ['2^34 + 1 blocks (FMT-014)', 'refused', () => [[88, 8, (1n << 46n) + 4096n], dirPages(5000n), away]],
  ['sectors of 4096', 'taken', () => [[100, 4, 4096n]]],
  ['sectors of 1024 (FMT-014)', 'refused', () => [[100, 4, 1024n]]],
  ['no state (FMT-014)', 'refused', () => [[104, 4, 0n]]],
  ['a third state (FMT-014)', 'refused', () => [[104, 4, 3n]]],
  ['no uuid (FMT-014)', 'refused', () => [[56, 8, 0n], [64, 8, 0n]]], // prettier-ignore
  ['the last sequence', 'taken', () => [[24, 8, 2n ** 63n - 1n]]],
  ['a sequence beyond it (FMT-014)', 'refused', () => [[24, 8, 2n ** 63n]]],
  ['a directory on the header (FMT-015)', 'refused', () => [dirOff(4096n)]],
  ['a directory between pages (FMT-015)', 'refused', () => [dirOff(FAR + 8n)]],
  ['a directory far away', 'taken', () => [dirOff(2n ** 55n)]],
  ['the last place of a directory', 'taken', () => [dirOff(2n ** 62n - 4096n)]],
  ['a directory at 2^62 (FMT-015)', 'refused', () => [dirOff(2n ** 62n)]],
  ['65536 directory pages', 'taken', () => [dirPages(65536n), away]],
  ['65537 directory pages (FMT-015)', 'refused', () => [dirPages(65537n), away]],
  ['too few directory pages (FMT-015)', 'refused', () => [dirPages(0n)]],
  ['more used than there are (FMT-015)', 'refused', () => [[128, 8, 3n], dirPages(2n), away]],
  ['a directory in the journal (FMT-015)', 'refused', () => [dirOff(BigInt(header.journalOff) + 4096n)]],
  ['a directory across the first cluster (FMT-015)', 'refused', () => [dirPages(2n), dirOff(BigInt(header.firstCluster * header.clusterSize) - 4096n)]], // prettier-ignore
  ['a journal between pages (FMT-015)', 'refused', () => [journalOff(BigInt(header.journalOff) + 8n)]],
  ['a journal of 512 KiB', 'taken', () => [journalLen(512n * K)]],
  ['a journal below that (FMT-015)', 'refused', () => [journalLen(508n * K)]],
  ['a journal of 1 MiB', 'taken', () => [journalLen(1024n * K), away, firstCluster(16n)]],
  ['a journal above that (FMT-015)', 'refused', () => [journalLen(1028n * K), away, firstCluster(16n)]],
  ['a journal at 2^62 (FMT-015)', 'refused', () => [journalOff(2n ** 62n)]],
  ['no first cluster (FMT-015)', 'refused', () => [firstCluster(0n)]],
  ['the first cluster in the journal (FMT-015)', 'refused', () => [firstCluster(1n)]],
  ['the first cluster at 2^30', 'taken', () => [firstCluster(2n ** 30n / BigInt(header.clusterSize))]],
  ['the first cluster behind that (FMT-015)', 'refused', () => [firstCluster(2n ** 30n / BigInt(header.clusterSize) + 1n)]],
  ['a checkpoint between records (FMT-015)', 'refused', () => [[152, 8, 4n]]],
  ['the last checkpoint', 'taken', () => [[152, 8, 2n ** 63n - 8n]]],
  ['a checkpoint beyond it (FMT-015)', 'refused', () => [[152, 8, 2n ** 63n]]],
];

describe('both readers agree on a header with', () => {
  it.each(CASES)('%s: %s', async (_name, verdict, edits) => {
    writeHeader(edits());
    expect({ core: await coreVerdict(), plain: plainVerdict() }).toEqual({ core: verdict, plain: verdict });
  });
});
