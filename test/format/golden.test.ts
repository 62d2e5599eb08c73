// SPDX-License-Identifier: Apache-2.0
// Images written by earlier programs (test/golden, made with csrc/tools/sample-images.c) stay readable for ever, for both readers.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { PlainReader } from '../helpers/reader/image.js';
import { expectedBytes, LOOK_BYTES, sampleDisks, SAMPLES } from '../helpers/samples.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const FOLDER = 'test/golden';
const archives = readdirSync(FOLDER).filter((file) => file.endsWith('.tar.gz'));

let scratch: Scratch;

beforeAll(async () => {
  scratch = await makeScratch();
  for (const file of archives) await run('tar', ['-xzf', join(FOLDER, file), '--no-same-owner', '-C', scratch.directory]);
});
afterAll(() => scratch.clean());

it('there is one of every kind of version 1', () => {
  expect(archives.toSorted()).toEqual(SAMPLES.map((name) => `v1-${name}.tar.gz`).toSorted());
});

describe.each(archives)('%s', (file) => {
  const name = file.replace(/^v\d+-(.*)\.tar\.gz$/, '$1');
  const disks = () => sampleDisks(scratch.directory, name);

  it('is read by the plain reader', () => {
    for (const disk of disks()) {
      using reader = new PlainReader(scratch.path(name), disk.snapshot ?? undefined);
      expect(reader.size).toBe(disk.size);
      expect(reader.read(0, Math.min(disk.size, LOOK_BYTES)).equals(expectedBytes(disk))).toBe(true);
    }
  });

  it('is read by the C core, and checks whole', async () => {
    for (const disk of disks()) {
      await using reader = await native.openReader(scratch.path(name), disk.snapshot === null ? {} : { snapshot: disk.snapshot });
      expect((await reader.read(0, Math.min(disk.size, LOOK_BYTES))).equals(expectedBytes(disk))).toBe(true);
    }
    expect((await native.check(scratch.path(name))).findings).toEqual([]);
  });

  it('takes a writer and keeps what it holds', async () => {
    await native.snapshot(scratch.path(name), { name: 'later' });
    for (const disk of disks()) {
      using reader = new PlainReader(scratch.path(name), disk.snapshot ?? undefined);
      expect(reader.read(0, Math.min(disk.size, LOOK_BYTES)).equals(expectedBytes(disk))).toBe(true);
    }
  });
});
