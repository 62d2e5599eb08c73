// SPDX-License-Identifier: Apache-2.0
// Does reading get slower with the number of snapshots? Random reads of 4 KiB through the addon, blocks spread over all layers; and
// how often the host is read for one, at first and later.
import { readFile } from 'node:fs/promises';
import { add, complete, cycle, suite } from 'benny';
import { native, type NativeReader } from '../src/native/index.js';
import { layeredImage, withWorkshop } from './images.js';
import { type Report, reportOf } from './report.js';

const DEPTHS = [1, 8, 64, 256, 1000];
const LOOKED_UP = 2000;
const SIZE_BYTES = 64 * 1024 * 1024;

export async function bench(): Promise<Report[]> {
  return withWorkshop(async (workshop) => {
    const readers: NativeReader[] = [];
    for (const depth of DEPTHS) readers.push(await native.openReader(await layeredImage(workshop, depth, SIZE_BYTES)));
    const hostReads = await countHostReads(readers);
    const cases = readers.map((reader, at) => add(`${DEPTHS[at]} layers`, () => () => readSomewhere(reader)));
    const summary = await suite(
      'random 4 KiB reads by depth of the chain',
      ...cases,
      cycle(() => ''),
      complete(() => ''),
    );
    for (const reader of readers) await reader.close();
    const [one, ...deeper] = summary.results;
    const ratios = deeper.map(({ name, ops }) => `${name}: ${(ops / (one?.ops ?? Number.NaN)).toFixed(2)}`);
    return [{ ...reportOf(summary), notes: [`Against ${one?.name}: ${ratios.join(', ')}.`] }, hostReads];
  });
}

/** The first pass finds nothing in memory, the second everything it needs. */
async function countHostReads(readers: readonly NativeReader[]): Promise<Report> {
  const rows: string[][] = [];
  for (const [at, reader] of readers.entries()) {
    const passes: string[] = [];
    for (let pass = 0; pass < 2; pass++) {
      const before = await readCalls();
      for (let read = 0; read < LOOKED_UP; read++) await readSomewhere(reader);
      passes.push((((await readCalls()) - before) / LOOKED_UP).toFixed(2));
    }
    rows.push([`${DEPTHS[at]} layers`, ...passes]);
  }
  const notes = ['One of them is the read of the data, one is Node being woken up by its thread pool.'];
  return { title: `read(2) and its like for each of ${LOOKED_UP} random reads`, columns: ['image', 'just opened', 'later'], rows, notes };
}

/** read(2) and its like by this process; asking takes some itself. */
async function readCalls(): Promise<number> {
  return Number(/^syscr: (\d+)/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
}

async function readSomewhere(reader: NativeReader): Promise<void> {
  await reader.read(Math.floor(Math.random() * (SIZE_BYTES / 4096)) * 4096, 4096);
}
