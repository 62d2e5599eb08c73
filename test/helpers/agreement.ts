// SPDX-License-Identifier: Apache-2.0
// Every image that an end-to-end test leaves in its scratch directory is read by the plain reader, too (test/helpers/reader): it must
// have the same owners, places and bytes as the C core has. Called when the test cleans up, with everything detached.
import { type Dirent, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { PloopError } from '../../src/errors.js';
import { native, type NativeExtent } from '../../src/native/index.js';
import { readDescriptor } from './reader/descriptor.js';
import { PlainReader } from './reader/image.js';

/** With up to eight layers, and less with more: the plain reader asks each of them about each block. */
const LOOK_BYTES = 4 * 2 ** 30;
const LOOK_LAYERS = 8;
const EXTENTS_READ = 48;
const READ_BYTES = 64 * 1024;
const DEPTH = 4;
/** How check refuses what a test has damaged beyond reading; anything else, such as an image still in use, is a failure. */
const DAMAGE: readonly string[] = ['CORRUPT', 'NOT_AN_IMAGE', 'NOT_FOUND', 'UNSUPPORTED_FEATURE'];

/** Throws for the first image that the two see differently. Answers how many were compared. */
export async function readersAgree(root: string): Promise<number> {
  let compared = 0;
  for (const directory of imagesBelow(root, DEPTH)) compared += (await imageAgrees(directory)) ? 1 : 0;
  return compared;
}

function imagesBelow(directory: string, depth: number): string[] {
  if (existsSync(join(directory, 'image.json'))) return [directory];
  if (depth === 0) return [];
  const isFolder = (entry: Dirent): boolean => entry.isDirectory() && entry.name !== 'rootfs';
  const folders = readdirSync(directory, { withFileTypes: true }).filter(isFolder);
  return folders.flatMap((folder) => imagesBelow(join(directory, folder.name), depth - 1));
}

async function imageAgrees(directory: string): Promise<boolean> {
  // What a test has damaged is the business of other tests.
  const sound = await native.check(directory).then(
    ({ findings }) => findings.length === 0,
    (error: unknown) => {
      if (error instanceof PloopError && DAMAGE.includes(error.code)) return false;
      throw error;
    },
  );
  if (!sound) return false;
  const { snapshots, layers } = readDescriptor(directory);
  const shown = snapshots.filter((snapshot) => !snapshot.hidden);
  const lookBytes = LOOK_BYTES / Math.max(1, Math.ceil(layers.length / LOOK_LAYERS));
  for (const snapshot of [null, ...shown.slice(-3).map(({ id }) => id)]) await diskAgrees(directory, snapshot, lookBytes);
  return true;
}

async function diskAgrees(directory: string, snapshot: string | null, lookBytes: number): Promise<void> {
  const what = `${directory}${snapshot === null ? '' : `@${snapshot}`}`;
  using plain = new PlainReader(directory, snapshot ?? undefined);
  const length = Math.min(plain.size, Math.floor(lookBytes / 2 ** 20) * 2 ** 20);
  const extents = await coreExtents(directory, snapshot, length);
  const mine = JSON.stringify(plain.extents(0, length));
  if (mine !== JSON.stringify(extents))
    throw new Error(`${what}: the two readers see different extents: ${differing(mine, JSON.stringify(extents))}`);
  await using core = await native.openReader(directory, snapshot === null ? {} : { snapshot });
  const data = extents.filter((extent) => extent.layer !== null && !extent.zero);
  const step = Math.max(1, Math.floor(data.length / EXTENTS_READ));
  for (const [index, extent] of data.entries()) {
    if (index % step !== 0) continue;
    const bytes = Math.min(extent.length, READ_BYTES);
    if (!plain.read(extent.offset, bytes).equals(await core.read(extent.offset, bytes)))
      throw new Error(`${what}: the two readers see different bytes at ${extent.offset}`);
  }
}

async function coreExtents(directory: string, snapshot: string | null, length: number): Promise<NativeExtent[]> {
  const all: NativeExtent[] = [];
  for (let offset: number | null = 0; offset !== null;) {
    const part = await native.map(directory, { offset, length: length - offset, ...(snapshot === null ? {} : { snapshot }) });
    for (const extent of part.extents) if (!continues(all.at(-1), extent)) all.push(extent);
    offset = part.next;
  }
  return all;
}

/** Makes `before` longer when `extent`, of the next page of answers, goes on where it ends. */
function continues(before: NativeExtent | undefined, extent: NativeExtent): boolean {
  if (before === undefined || before.layer !== extent.layer || before.zero !== extent.zero) return false;
  if (before.hostOffset !== null && before.hostOffset + before.length !== extent.hostOffset) return false;
  before.length += extent.length;
  return true;
}

function differing(a: string, b: string): string {
  const at = [...a].findIndex((character, index) => character !== b[index]);
  return `…${a.slice(Math.max(0, at - 80), at + 80)}… and …${b.slice(Math.max(0, at - 80), at + 80)}…`;
}
