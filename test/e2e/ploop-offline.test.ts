// SPDX-License-Identifier: Apache-2.0
// The ploop commands on images that are not attached, as a user gives them: results, --json shapes, exit statuses.
import { mkdir, open, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

interface ErrorDocument {
  error: { code: string; message: string; hint: string | null; exitStatus: number };
}

let scratch: Scratch;
let dir: string;

beforeAll(async () => {
  scratch = await makeScratch();
  dir = scratch.path('image');
  const made = await ploop('create', dir, '--size', '64M', '--fs', 'none', '--label', 'web', '--json');
  expect(made).toMatchObject({ status: 0, stderr: '' });
  expect(differences('ploop create', made.json())).toEqual([]);
});
afterAll(() => scratch.clean());

describe('an image', () => {
  it('is described', async () => {
    const info = await ploop('info', dir, '--json');
    expect(differences('ploop info', info.json())).toEqual([]);
    expect(info.json()).toMatchObject({
      directory: dir,
      label: 'web',
      fs: 'none',
      sizeBytes: 64 * 2 ** 20,
      attachments: [],
      fileSystem: null,
    });
    expect((await ploop('info', dir)).stdout).toMatch(/size +64 MiB in blocks of 4 KiB[\s\S]*attached +no[\s\S]*LAYER/);
  });

  it('goes through snapshot, list, switch and delete, by name and by prefix', async () => {
    const first = await ploop('snapshot', dir, '--name', 'first', '--description', 'of two', '--json');
    expect(differences('ploop snapshot', first.json())).toEqual([]);
    const { id } = first.json<{ id: string }>();
    const second = (await ploop('snapshot', dir)).stdout.trim();
    expect(second).toMatch(/^[0-9a-f-]{36}$/);

    const list = await ploop('snapshot-list', dir, '--json');
    expect(differences('ploop snapshot-list', list.json())).toEqual([]);
    expect(list.json()).toMatchObject({
      snapshots: [
        { id, name: 'first', parent: null, current: false },
        { id: second, parent: id, current: true },
      ],
    });

    const switched = await ploop('snapshot-switch', dir, 'first', '--json');
    expect(differences('ploop snapshot-switch', switched.json())).toEqual([]);
    expect((await ploop('snapshot-list', dir)).stdout).toMatch(new RegExp(`- +\\* +${id}`));

    const deleted = await ploop('snapshot-delete', dir, second.slice(0, 8), '--json');
    expect(differences('ploop snapshot-delete', deleted.json())).toEqual([]);
    expect(await ploop('snapshot-merge', dir, id)).toMatchObject({ status: 0 });
    expect((await ploop('snapshot-list', dir, '--json')).json()).toMatchObject({ snapshots: [] });
  });

  it('checks clean', async () => {
    const check = await ploop('check', dir, '--json');
    expect(check.status).toBe(0);
    expect(differences('ploop check', check.json())).toEqual([]);
    expect(check.json()).toMatchObject({ clean: true, findings: [] });
    expect((await ploop('check', dir)).stdout).toMatch(/is clean: 1 layer, /);
  });

  it('is mapped', async () => {
    const map = await ploop('map', dir, '--json');
    expect(differences('ploop map', map.json())).toEqual([]);
    expect(map.json()).toMatchObject({ extents: [{ offset: 0, length: 64 * 2 ** 20, layer: null }] });
    expect((await ploop('map', dir, '--offset', '1M', '--length', '1M')).stdout).toMatch(/1048576 +1048576 +- /);
  });

  it('is not in the list of attached ones', async () => {
    const list = await ploop('list', '--json');
    expect(differences('ploop list', list.json())).toEqual([]);
    expect(list.json()).toEqual({ attachments: [] });
  });
});

describe('bad input', () => {
  let empty: string;
  let other: string;

  beforeAll(async () => {
    empty = scratch.path('empty');
    other = scratch.path('other');
    await mkdir(empty);
    await mkdir(other);
    await writeFile(`${other}/file`, 'something');
  });

  it.each<[string, () => string[], number, RegExp]>([
    ['a directory that holds no image', () => ['info', empty], 3, /holds no image/],
    ['a file', () => ['info', `${other}/file`], 3, /is not a directory/],
    ['nothing', () => ['check', scratch.path('nowhere')], 7, /does not exist/],
    ['a size of 0', () => ['create', scratch.path('new'), '--size', '0'], 2, /--size/],
    ['a negative size', () => ['create', scratch.path('new'), '--size=-5G'], 2, /--size/],
    ['a size that is no number', () => ['create', scratch.path('new'), '--size', 'ten'], 2, /--size: 'ten' is not a size/],
    ['a size beyond the limit', () => ['create', scratch.path('new'), '--size', '65T'], 2, /beyond the limit/],
    ['no size', () => ['create', scratch.path('new')], 2, /--size/],
    [
      'an unknown block size',
      () => ['create', scratch.path('new'), '--size', '1G', '--block-size', '5K'],
      2,
      /--block-size: 5K is not one of/,
    ],
    ['an unknown option', () => ['create', scratch.path('new'), '--size', '1G', '--lable', 'x'], 2, /unknown option '--lable'/],
    ['an existing image', () => ['create', dir, '--size', '1G', '--fs', 'none'], 6, /holds an image already/],
    ['a directory with content', () => ['create', other, '--size', '1G', '--fs', 'none'], 6, /is not empty \(it holds file\)/],
    ['a directory in a missing one', () => ['create', `${empty}/a/b`, '--size', '1G', '--fs', 'none'], 7, /does not exist/],
    ['an unknown snapshot', () => ['snapshot-switch', dir, 'nothing'], 8, /no snapshot has the id or name 'nothing'/],
    ['the detaching of a detached image', () => ['detach', dir], 12, /is not attached/],
    ['the detaching of a strange device', () => ['detach', '/dev/null'], 12, /not a device of an attached image/],
    ['an offset that is not aligned', () => ['map', dir, '--offset', '7'], 2, /--offset: 7 is not a multiple of 512/],
  ])('%s is refused with its sentence and exit status', async (_, args, status, message) => {
    const outcome = await ploop(...args(), '--json');
    expect(outcome.status).toBe(status);
    expect(differences('A failure', outcome.json())).toEqual([]);
    expect(outcome.json<ErrorDocument>().error.message).toMatch(message);
    expect(outcome.json<ErrorDocument>().error.exitStatus).toBe(status);
  });

  it('has changed nothing', async () => {
    expect(await readdir(empty)).toEqual([]);
    expect(await readdir(other)).toEqual(['file']);
    expect((await ploop('check', dir)).status).toBe(0);
    expect((await readdir(scratch.directory)).toSorted()).toEqual(['empty', 'image', 'other', 'run']);
  });
});

describe('a damaged image', () => {
  it('is found by check, with the place, and refused by everything else', async () => {
    const bad = scratch.path('bad');
    await ploop('create', bad, '--size', '16M', '--fs', 'none');
    const top = (JSON.parse(await readFile(`${bad}/image.json`, 'utf8')) as { top: string }).top;
    const layer = `${bad}/layers/${top}.plp`;
    const file = await open(layer, 'r+');
    await file.write(Buffer.from('garbage'), 0, 7, 64);
    await file.write(Buffer.from('garbage'), 0, 7, 4096 + 64);
    await file.close();
    const check = await ploop('check', bad, '--json');
    expect(check.status).toBe(28);
    expect(differences('ploop check', check.json())).toEqual([]);
    expect(check.json()).toMatchObject({ clean: false, findings: [{ layer: top }] });
    expect((await ploop('check', bad)).stdout).toMatch(/: layer [0-9a-f]{8} at byte \d+: /);
    expect((await ploop('snapshot', bad)).status).toBe(4);
    await truncate(layer, 100);
    expect((await ploop('check', bad)).status).toBe(28);
    expect([3, 4]).toContain((await ploop('snapshot', bad)).status);
  });
});
