// SPDX-License-Identifier: Apache-2.0
// What a flush costs on the host, counted: syncs of the layer's file (perf's tracepoint of ext4) and bytes written, for each 4 KiB
// write that is followed by one.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../src/exec/run.js';
import { type AttachedImage, image } from './contender/image.js';
import type { Preparation } from './contender/contender.js';
import { withWorkshop } from './images.js';
import type { BenchOptions } from './options.js';
import type { Report } from './report.js';

const FLUSHES = 200;
const CASES: readonly { title: string; content: Preparation['content'] }[] = [
  { title: 'block written before', content: 'full' },
  { title: 'first write of all', content: 'empty' },
  { title: 'first write over a base', content: 'base' },
];

interface Figures {
  title: string;
  syncs: number;
  bytes: number;
}

export async function bench({ sizeBytes }: BenchOptions): Promise<Report> {
  const all: Figures[] = [];
  for (const { title, content } of CASES) {
    const figures = await withWorkshop(async ({ folder }) => {
      const disk = await image(folder, { sizeBytes, content });
      return count(disk, join(folder, 'perf')).finally(() => disk.close());
    });
    all.push({ title, ...figures });
  }
  return {
    title: `Flush cost, for each of ${FLUSHES} writes of 4 KiB with a flush behind it`,
    columns: ['write', 'fdatasyncs', 'bytes beside the data'],
    rows: all.map(({ title, syncs, bytes }) => [title, syncs.toFixed(2), Math.round(bytes).toLocaleString('en')]),
    notes: ['Journal records go through the page cache: what is counted is whole pages that became dirty.'],
    figures: all,
  };
}

async function count({ device, attached }: AttachedImage, output: string): Promise<Omit<Figures, 'title'>> {
  const written = async (): Promise<number> =>
    Number(/^write_bytes: (\d+)/m.exec(await readFile(`/proc/${attached.worker}/io`, 'utf8'))?.[1]);
  const before = await written();
  const fio = ['fio', '--name=flush', `--filename=${device}`, '--ioengine=psync', '--direct=1', '--rw=randwrite', '--bs=4k', '--fsync=1'];
  const perf = ['stat', '-x', ',', '-e', 'ext4:ext4_sync_file_enter', '-p', String(attached.worker), '-o', output, '--'];
  await run('perf', [...perf, ...fio, `--io_size=${FLUSHES * 4096}`]);
  const syncs = Number(/^(\d+),/m.exec(await readFile(output, 'utf8'))?.[1]);
  return { syncs: syncs / FLUSHES, bytes: ((await written()) - before) / FLUSHES - 4096 };
}
