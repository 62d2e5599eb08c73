// SPDX-License-Identifier: Apache-2.0
// Damaged images: each call says what is wrong with a typed error, and changes nothing.
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { isErrorCode } from '../../src/errors.js';
import { native } from '../../src/native/index.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

let scratch: Scratch;
let dir: string;
let layer: string;

beforeEach(async () => {
  scratch = await makeScratch();
  dir = scratch.path('image');
  await native.create(dir, { size: 2 ** 24 });
  await native.snapshot(dir, { name: 'one' });
  const { top } = await native.info(dir);
  layer = `${dir}/layers/${top}.plp`;
});
afterEach(() => scratch.clean());

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ 0x40;
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}

type Damage = [what: string, act: () => Promise<void>, code: RegExp];

const damages: Damage[] = [
  ['both headers flipped', async () => (await flip(layer, 100), flip(layer, 4196)), /CORRUPT|NOT_AN_IMAGE/],
  ['a layer cut to 100 bytes', () => truncate(layer, 100), /CORRUPT|NOT_AN_IMAGE/],
  ['an empty layer', () => truncate(layer, 0), /CORRUPT|NOT_AN_IMAGE/],
  ['a missing layer', () => rm(layer), /CORRUPT|NOT_FOUND/],
  ['a descriptor that is no JSON', () => writeFile(`${dir}/image.json`, '{"version":1,'), /CORRUPT/],
  ['an empty descriptor', () => writeFile(`${dir}/image.json`, ''), /CORRUPT/],
  ['a descriptor of another kind', () => writeFile(`${dir}/image.json`, '{"hello":"world"}'), /CORRUPT|NOT_AN_IMAGE|UNSUPPORTED/],
];

describe.each(damages)('%s', (_, act, code) => {
  beforeEach(act);

  it('is refused by everything that opens the image, which stays as it is', async () => {
    const before = await contents();
    const calls: (() => Promise<unknown>)[] = [
      () => native.openReader(dir),
      () => native.map(dir),
      () => native.snapshot(dir),
      () => native.resize(dir, 2 ** 25),
      () => native.compact(dir),
    ];
    for (const call of calls) {
      const error = await call().then(
        () => ({ code: 'nothing was refused' }),
        (thrown: { code: string; message: string }) => thrown,
      );
      expect(error.code).toMatch(code);
    }
    expect(await contents()).toEqual(before);
  });

  it('is found by a check', async () => {
    const found = await native.check(dir).then(
      (result) => result.findings.map((one) => one.code),
      (error: { code: string }) => [error.code],
    );
    expect(found.length).toBeGreaterThan(0);
    expect(found.every(isErrorCode)).toBe(true);
    expect(found.join(' ')).toMatch(code);
  });
});

describe('one bad header of two', () => {
  it.each([0, 4096])('opens with the other copy (damage at %i)', async (offset) => {
    await flip(layer, offset + 100);
    await using reader = await native.openReader(dir);
    expect((await reader.read(0, 4096)).every((byte) => byte === 0)).toBe(true);
  });
});

async function contents(): Promise<Map<string, string>> {
  const files = (await readdir(dir, { recursive: true })).filter((name) => name !== 'lock').toSorted();
  const entries = await Promise.all(
    files.map(async (name): Promise<[string, string]> => {
      const path = `${dir}/${name}`;
      return [
        name,
        (await stat(path)).isFile()
          ? createHash('sha256')
              .update(await readFile(path))
              .digest('hex')
          : '',
      ];
    }),
  );
  return new Map(entries);
}
