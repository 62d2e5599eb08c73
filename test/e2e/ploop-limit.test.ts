// SPDX-License-Identifier: Apache-2.0
// `ploop resize --limit`: a mounted ext4 becomes smaller for those who use it, at once, and nothing else changes.
import { mkdir, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { checkFileSystem } from '../../src/filesystem/check.js';
import { withAttached } from '../../src/filesystem/image/temporary.js';
import { nativeFile } from '../../src/native/binding.js';
import { ploop, type CommandOutcome, ploopOk } from '../helpers/command.js';
import { pipeline } from '../helpers/pipeline.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { hostBytes } from './device.js';

const MIB = 2 ** 20;
const SIZE = 256 * MIB;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'xfs'))('a limited file system', () => {
  let scratch: Scratch;
  let image: string;
  let place: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    image = scratch.path('image');
    place = scratch.path('mnt');
    await mkdir(place);
    await ploop('create', image, '--size', String(SIZE), '--fs', 'ext4');
    await ploop('mount', image, place);
  });
  afterEach(() => scratch.clean());

  const free = async (at = place): Promise<number> => statfs(at).then(({ bavail, bsize }) => (bavail * bsize) / MIB);
  const limit = (to: string, dir = image): Promise<CommandOutcome> => ploop('resize', dir, '--limit', to);
  const fill = (name: string, mib: number): Promise<{ exitCode: number | undefined }> =>
    run('dd', ['if=/dev/urandom', `of=${join(place, name)}`, 'bs=1M', `count=${mib}`, 'conv=fsync', 'status=none'], { accept: 'any' });
  interface Usage {
    limitBytes: number | null;
    usage: { usedBytes: number };
  }
  const usage = async (): Promise<Usage> => {
    const info = await ploop('info', image, '--json');
    expect(differences('ploop info', info.json())).toEqual([]);
    return info.json<{ fileSystem: Usage }>().fileSystem;
  };

  it('has less for its users, root among them, costs the host nothing, and has all again without the limit', async () => {
    const [before, used, host] = [await free(), await usage(), await hostBytes(image)];
    const limited = await ploop('resize', image, '--limit', String(100 * MIB), '--json');
    expect(differences('ploop resize', limited.json())).toEqual([]);
    expect(limited.json()).toMatchObject({ oldSizeBytes: SIZE, sizeBytes: SIZE, limitBytes: 100 * MIB, mountPoint: place });
    expect(await free()).toBeCloseTo(before - 156, 0);
    expect(await readdir(place)).toEqual(['lost+found']);
    expect(await usage()).toEqual({ ...used, limitBytes: 100 * MIB });
    expect((await ploop('info', image)).stdout).toContain('limited to 100 MiB of the disk');
    expect((await hostBytes(image)) - host).toBeLessThan(MIB);
    expect(await fill('large', 150)).toMatchObject({ exitCode: 1 });
    expect(await free()).toBe(0);
    expect(await limit('none')).toMatchObject({ status: 0 });
    expect(await free()).toBeGreaterThan(140);
    expect(await fill('large', 150)).toMatchObject({ exitCode: 0 });
  });

  it('is refused below what its files need, with the smallest possible limit, which works', async () => {
    await fill('a', 60);
    const refused = await limit('10M');
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('smallest possible') as string });
    const smallest = /smallest possible is (\d+)/.exec(refused.stderr)?.[1] ?? '';
    expect(Number(smallest) / MIB).toBeGreaterThan(60);
    expect(Number(smallest) / MIB).toBeLessThan(110);
    expect(await limit(smallest)).toMatchObject({ status: 0 });
    expect(await free()).toBeLessThan(2);
    expect(await ploop('resize', image, '--size', '128M')).toMatchObject({
      stderr: expect.stringContaining('--limit 134217728') as string,
    });
    for (const bad of ['512M', '256M', '0']) expect(await limit(bad)).toMatchObject({ status: 2 });
    expect(await ploop('resize', image, '--limit', '128M', '--size', '1G')).toMatchObject({ status: 2 });
    expect(await ploop('resize', image)).toMatchObject({ status: 2 });
  });

  it('is still so after the next mount, with a clean file system, and in clones; another size ends it', async () => {
    await fill('a', 20);
    await limit('128M');
    const limited = await free();
    await ploop('umount', place);
    const clean = await withAttached(image, ({ device }) => checkFileSystem(device, { type: 'ext4' }), { readOnly: true });
    expect(clean).toMatchObject({ clean: true });
    await ploop('mount', image, place);
    expect(await free()).toBeCloseTo(limited, 0);
    await ploop('snapshot', image, '--name', 's');
    const [clone, at] = [scratch.path('clone'), scratch.path('at')];
    await mkdir(at);
    await ploop('clone', image, clone, '--snapshot', 's');
    await ploop('mount', clone, at);
    expect(await free(at)).toBeCloseTo(limited, 0);
    await ploop('umount', at);
    await ploop('resize', clone, '--size', '300M');
    await ploop('mount', clone, at);
    expect(await free(at)).toBeGreaterThan(limited + 150);
  });

  it('has its limit also where it is sent or copied to', async () => {
    await fill('a', 20);
    await limit('128M');
    const limited = await free();
    const [copy, sent, at] = [scratch.path('copy'), scratch.path('sent'), scratch.path('at')];
    await mkdir(at);
    await ploopOk('copy', image, copy);
    await ploopOk('snapshot', image, '--name', 's');
    expect(await pipeline(`ploop send ${image} --snapshot s | ploop receive ${sent}`)).toMatchObject({ statuses: [0, 0] });
    for (const dir of [copy, sent]) {
      await ploopOk('mount', dir, at);
      expect(await free(at)).toBeCloseTo(limited, 0);
      expect((await ploopOk('info', dir, '--json')).json<{ fileSystem: Usage }>().fileSystem.limitBytes).toBe(128 * MIB);
      await ploopOk('umount', at);
    }
  });

  it('has the limit of the snapshot that it is switched to', async () => {
    const all = await free();
    await ploopOk('snapshot', image, '--name', 'free');
    await limit('128M');
    const limited = await free();
    await ploopOk('snapshot', image, '--name', 'limited');
    await limit('none');
    for (const [snapshot, limitBytes, room] of [
      ['limited', 128 * MIB, limited],
      ['free', null, all],
      ['limited', 128 * MIB, limited],
    ] as const) {
      await ploopOk('umount', place);
      await ploopOk('snapshot-switch', image, snapshot, '--discard');
      await ploopOk('mount', image, place);
      expect((await usage()).limitBytes).toBe(limitBytes);
      expect(await free()).toBeCloseTo(room, 0);
    }
  });

  it('is packed and trimmed as any other', async () => {
    await fill('a', 60);
    await limit('128M');
    await run('rm', [join(place, 'a')]);
    expect(await ploop('compact', image, '--pack')).toMatchObject({ status: 0 });
    expect(await hostBytes(image)).toBeLessThan(20 * MIB);
    expect((await usage()).limitBytes).toBe(128 * MIB);
    expect(await fill('b', 60)).toMatchObject({ exitCode: 0 });
    expect(await fill('c', 128)).toMatchObject({ exitCode: 1 });
  });

  it('keeps its limit from root without capabilities, as in a container', async () => {
    await limit('128M');
    const inside = ['--bounding-set', '-all', '--inh-caps', '-all', nativeFile('ploop-fsctl'), 'note', place];
    expect(await run('setpriv', [...inside, ''], { accept: 'any' })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/EPERM/) as string,
    });
    expect((await usage()).limitBytes).toBe(128 * MIB);
  });

  it('must be a mounted ext4', async () => {
    await ploop('umount', place);
    expect(await limit('128M')).toMatchObject({ stderr: expect.stringContaining('is not mounted for writing') as string });
    const xfs = scratch.path('xfs');
    await ploop('create', xfs, '--size', '512M', '--fs', 'xfs');
    await ploop('mount', xfs, place);
    expect(await limit('256M', xfs)).toMatchObject({ stderr: expect.stringContaining('only an ext4 can be limited') as string });
  });
});
