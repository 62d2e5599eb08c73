// SPDX-License-Identifier: Apache-2.0
// Does reading get slower with the number of snapshots? Random reads of 4 KiB through the addon, blocks spread over all layers.
import { add, complete, cycle, suite } from 'benny';
import { native, type NativeReader } from '../src/native/index.js';
import { layeredImage, withWorkshop } from './images.js';
import { type Report, reportOf } from './report.js';

const DEPTHS = [1, 8, 64];
const SIZE_BYTES = 64 * 1024 * 1024;

export async function bench(): Promise<Report> {
  return withWorkshop(async (workshop) => {
    const readers: NativeReader[] = [];
    for (const depth of DEPTHS) readers.push(await native.openReader(await layeredImage(workshop, depth, SIZE_BYTES)));
    const cases = readers.map((reader, at) => add(`${DEPTHS[at]} layers`, () => () => readSomewhere(reader)));
    const summary = await suite(
      'random 4 KiB reads by depth of the chain',
      ...cases,
      cycle(() => ''),
      complete(() => ''),
    );
    for (const reader of readers) await reader.close();
    return reportOf(summary);
  });
}

async function readSomewhere(reader: NativeReader): Promise<void> {
  await reader.read(Math.floor(Math.random() * (SIZE_BYTES / 4096)) * 4096, 4096);
}
