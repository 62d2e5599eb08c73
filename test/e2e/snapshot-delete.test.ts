// SPDX-License-Identifier: Apache-2.0
// Snapshots deleted while the disk is written to: what the disk and the other snapshots show stays, whoever dies meanwhile.
// PLOOP_SNAPSHOTS says how many there are (npm run test:snapshots: 50).
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { deleteSnapshot, listJobs } from '../../src/attach/jobs.js';
import { takeSnapshot } from '../../src/attach/operations.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { LayerFile } from '../helpers/reader/bytes.js';
import { readHeader } from '../helpers/reader/header.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { attach, type Attached, createImage } from './device.js';

const MIB = 2 ** 20;
const SIZE = 96 * MIB;
const SNAPSHOTS = Number(process.env['PLOOP_SNAPSHOTS'] ?? 8);

let scratch: Scratch;
let dir: string;
let at: Attached;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = await createImage(scratch, 'image', SIZE);
  at = await attach(scratch, dir);
});
afterEach(() => scratch.clean());

function fio(name: string, ...options: string[]): Promise<unknown> {
  const common = [
    '--bs=4k',
    '--direct=1',
    '--ioengine=libaio',
    '--iodepth=8',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--verify_state_save=0',
    '--minimal',
  ];
  return run('fio', [`--name=${name}`, `--filename=${at.device}`, '--rw=randwrite', ...common, ...options], { timeoutMs: 300_000 });
}

/** What each snapshot, listed or hidden, shows. */
async function sums(ids: readonly string[]): Promise<string[]> {
  const all: string[] = [];
  for (const snapshot of ids) {
    await using reader = await native.openReader(dir, { snapshot, lock: false });
    const hash = createHash('sha256');
    for (let offset = 0; offset < SIZE; offset += 8 * MIB) hash.update(await reader.read(offset, 8 * MIB));
    all.push(hash.digest('hex'));
  }
  return all;
}

/** Snapshots with writes before each, in the first half of the disk. */
async function snapshots(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    // Other places each time: fio's random numbers are the same.
    await fio('fill', '--size=40M', `--offset=${(i * 4100) % 8000}k`, '--io_size=2M', '--do_verify=0');
    ids.push((await takeSnapshot(dir, { runDir: scratch.runDir, name: `s${i}` })).id);
  }
  return ids;
}

const options = (): { runDir: string } => ({ runDir: scratch.runDir });

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio'))('deleting snapshots of an attached image', () => {
  it('keeps the disk and the other snapshots as they are, under fio verify', async () => {
    const ids = await snapshots(SNAPSHOTS);
    const [first, last] = [ids[0] as string, ids.at(-1) as string];
    const before = await sums([first, last]);
    const load = fio('load', '--offset=48M', '--size=48M', '--loops=2', '--verify_backlog=512', '--rate=24m');
    for (const id of ids.slice(1, -1)) expect(await deleteSnapshot(dir, id, options())).toMatchObject({ done: true, kept: false });
    await load;
    expect(await sums([first, last])).toEqual(before);
    expect((await native.info(dir, { lock: false })).layers).toHaveLength(3);
    await deleteSnapshot(dir, last, options());
    expect(await sums([first])).toEqual(before.slice(0, 1));
    await fio('whole', '--offset=48M', '--size=48M', '--loops=1', '--verify_only=1');
    await at.detach();
    expect(await native.check(dir)).toMatchObject({ findings: [] });
  });

  it('goes on in the background when the worker is killed', async () => {
    const ids = await snapshots(3);
    const before = await sums([ids[0] as string, ids[2] as string]);
    const asked = await ploop('snapshot-delete', dir, 's1', '--background', '--rate', '4K', '--json');
    expect(asked.json()).toMatchObject({ snapshot: { id: ids[1], done: false } });
    expect(differences('ploop snapshot-delete', asked.json())).toEqual([]);
    const jobs = await ploop('jobs', dir, '--json');
    expect(differences('ploop jobs', jobs.json())).toEqual([]);
    expect(jobs.json()).toMatchObject({ jobs: [{ id: ids[1], kind: 'delete', state: 'running', rate: 4096 }] });
    await at.killWorker();
    expect(await listJobs(dir, options())).toMatchObject([{ id: ids[1], state: 'running', rate: 4096 }]);
    await at.killWorker();
    const unknown = await ploop('jobs', dir, '--wait', 's9');
    expect(unknown).toMatchObject({ status: 7, stderr: expect.stringContaining("no job with the id or name 's9'") as string });
    expect((await ploop('jobs', dir, '--cancel', 's1')).status).toBe(0);
    await expect.poll(() => listJobs(dir, options())).toMatchObject([{ id: ids[1], state: 'stopped', total: 0, error: null }]);
    expect(await deleteSnapshot(dir, ids[1] as string, options())).toMatchObject({ done: true, kept: false });
    expect(await listJobs(dir, options())).toEqual([]);
    expect(await sums([ids[0] as string, ids[2] as string])).toEqual(before);
    await at.detach();
    expect(await native.check(dir)).toMatchObject({ findings: [] });
  });

  it('is waited for through the deaths of workers', async () => {
    const ids = await snapshots(3);
    const before = await sums([ids[0] as string, ids[2] as string]);
    const waiting = ploop('snapshot-delete', dir, 's1', '--rate', '256K');
    for (let kills = 0; kills < 2; kills++) {
      await expect.poll(() => listJobs(dir, options()), { timeout: 20_000 }).toMatchObject([{ id: ids[1], state: 'running' }]);
      await at.killWorker();
    }
    await expect.poll(() => listJobs(dir, options()), { timeout: 20_000 }).toMatchObject([{ id: ids[1], state: 'running' }]);
    // Without a limit from here on.
    expect(await deleteSnapshot(dir, ids[1] as string, { ...options(), rateBytes: 0 })).toMatchObject({ done: true });
    expect(await waiting).toMatchObject({ status: 0, stdout: expect.stringContaining('deleted') as string });
    expect(await sums([ids[0] as string, ids[2] as string])).toEqual(before);
  });

  it('waits for a snapshot that is attached, and takes snapshots meanwhile', async () => {
    const ids = await snapshots(3);
    const shown = await attach(scratch, dir, { snapshot: ids[1] as string });
    await deleteSnapshot(dir, ids[0] as string, { ...options(), background: true });
    await expect.poll(() => listJobs(dir, options()), { timeout: 20_000 }).toMatchObject([{ id: ids[0], state: 'waiting' }]);
    await takeSnapshot(dir, { ...options(), name: 'meanwhile' });
    await shown.detach();
    await expect.poll(() => listJobs(dir, options()), { timeout: 20_000 }).toEqual([]);
    await at.detach();
    expect(await native.check(dir)).toMatchObject({ findings: [] });
  });

  it('gives merged layers their block checksums back', async () => {
    dir = scratch.path('summed');
    await native.create(dir, { size: SIZE, checksums: true });
    at = await attach(scratch, dir);
    const ids = await snapshots(3);
    const before = await sums([ids[0] as string, ids[2] as string]);
    expect(await deleteSnapshot(dir, ids[1] as string, options())).toMatchObject({ done: true });
    const { layers, top } = await native.info(dir, { lock: false });
    const summed = (): number[] =>
      layers.filter(({ id }) => id !== top).map(({ id }) => Number(readHeader(new LayerFile(`${dir}/layers/${id}.plp`)).autoClear));
    await expect.poll(summed, { timeout: 30_000 }).toEqual([1, 1]);
    expect(await sums([ids[0] as string, ids[2] as string])).toEqual(before);
    await at.detach();
    expect(await native.check(dir, { data: true })).toMatchObject({ findings: [], layersWithChecksums: 2, blocksNotCovered: 0 });
  });
});
