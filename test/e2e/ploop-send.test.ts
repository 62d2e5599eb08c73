// SPDX-License-Identifier: Apache-2.0
// `ploop send | ploop receive` as a user runs them: whole and changes, while the image is written, broken and gone on with.
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { pipeline } from '../helpers/pipeline.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { writeAt } from './device.js';

const MIB = 2 ** 20;
const SIZE = 64 * MIB;

let scratch: Scratch;
let src: string;
let dst: string;

beforeEach(async () => {
  scratch = await makeScratch();
  src = scratch.path('src');
  dst = scratch.path('dst');
  await ploop('create', src, '--size', '64M', '--fs', 'none');
});
afterEach(() => scratch.clean());

async function content(dir: string, snapshot?: string): Promise<Buffer> {
  await using reader = await native.openReader(dir, snapshot === undefined ? {} : { snapshot });
  return reader.read(0, SIZE);
}

/** Bytes that zstd can do nothing about. */
function noise(bytes: number, seed: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  let x = seed;
  for (let i = 0; i < bytes; i += 4) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    buffer.writeUInt32LE((x ^ (x >>> 13)) >>> 0, i);
  }
  return buffer;
}

async function attached(): Promise<string> {
  return (await ploop('attach', src, '--json')).json<{ device: string }>().device;
}

async function check(dir: string): Promise<void> {
  expect((await ploop('check', dir, '--json')).json()).toMatchObject({ clean: true });
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('ploop send and receive', () => {
  it('carry a whole image, then changes, while it is written', async () => {
    const disk = await attached();
    await writeAt(disk, 0, noise(8 * MIB, 1));
    await ploop('snapshot', src, '--name', 'one');
    const whole = await pipeline(`ploop send ${src} --json | ploop receive ${dst} --json`);
    expect(whole.statuses).toEqual([0, 0]);
    expect(differences('ploop receive', JSON.parse(whole.stdout))).toEqual([]);
    expect(differences('ploop send', JSON.parse(whole.stderr.replace(/statuses.*\n/, '')))).toEqual([]);

    await writeAt(disk, 5 * MIB, Buffer.alloc(MIB));
    await writeAt(disk, 40 * MIB, noise(MIB, 2));
    await ploop('snapshot', src, '--name', 'two');
    await writeAt(disk, 41 * MIB, noise(MIB, 3));
    const changes = await pipeline(`ploop send ${src} --since one | ploop receive ${dst} --json`);
    expect(changes.statuses).toEqual([0, 0]);
    expect(JSON.parse(changes.stdout)).toMatchObject({ dataBytes: MIB, zeroBytes: MIB, snapshots: 1, resumed: false });
    await ploop('detach', src);
    for (const name of ['one', 'two']) expect((await content(dst, name)).equals(await content(src, name))).toBe(true);
    expect((await content(dst)).equals(await content(src, 'two'))).toBe(true);
    await check(dst);
  });

  it('read and move about as much as has changed', async () => {
    const disk = await attached();
    await writeAt(disk, 0, noise(48 * MIB, 4));
    await ploop('snapshot', src, '--name', 'one');
    // 1 % of the blocks that hold data, one here and one there.
    const blocks = Math.floor((48 * MIB) / 4096 / 100);
    for (let i = 0; i < blocks; i++) await writeAt(disk, i * 100 * 4096, noise(4096, 5 + i));
    await ploop('snapshot', src, '--name', 'two');
    const { statuses, stderr } = await pipeline(`ploop send ${src} --since one --json > ${scratch.path('changes')}`);
    expect(statuses).toEqual([0]);
    const sent = JSON.parse(stderr.replace(/statuses.*\n/, '')) as { dataBytes: number; streamBytes: number; readBytes: number };
    expect(sent.dataBytes).toBe(blocks * 4096);
    expect(sent.streamBytes).toBe((await stat(scratch.path('changes'))).size);
    expect(sent.streamBytes).toBeLessThanOrEqual(0.012 * 48 * MIB);
    expect(sent.readBytes).toBeGreaterThanOrEqual(sent.dataBytes);
    expect(sent.readBytes).toBeLessThanOrEqual(0.012 * 48 * MIB);
  });

  it('keep what arrived of a broken transfer, and go on with it', async () => {
    const disk = await attached();
    await writeAt(disk, 0, noise(20 * MIB, 6));
    await ploop('snapshot', src, '--name', 'one');
    const broken = await pipeline(`ploop send ${src} | head -c ${9 * MIB} | ploop receive ${dst}`);
    expect(broken.statuses.at(-1)).toBe(30);
    expect(broken.stderr).toMatch(/the stream ends after 9437184 bytes, in frame \d+[\s\S]*--resume-token/);
    expect(await readdir(scratch.directory)).not.toContain('dst');

    const token = await ploop('receive', '--resume-token', dst, '--json');
    expect(differences('ploop receive', token.json(), 'token')).toEqual([]);
    const rest = await pipeline(`ploop send ${src} --resume $(ploop receive --resume-token ${dst}) | ploop receive ${dst} --json`);
    expect(rest.statuses).toEqual([0, 0]);
    const { dataBytes, resumed } = JSON.parse(rest.stdout) as { dataBytes: number; resumed: boolean };
    expect({ resumed, less: dataBytes < 13 * MIB }).toEqual({ resumed: true, less: true });
    expect(await readdir(scratch.directory)).not.toContain('.dst.receiving');
    await ploop('detach', src);
    expect((await content(dst)).equals(await content(src))).toBe(true);
    await check(dst);
  });

  it('refuse damage with its place, and leave nothing under the final name (STR-052)', async () => {
    const disk = await attached();
    await writeAt(disk, 0, noise(2 * MIB, 7));
    await ploop('snapshot', src);
    const stream = scratch.path('stream');
    await pipeline(`ploop send ${src} > ${stream}`);
    const bytes = await readFile(stream);
    bytes.writeUInt8(bytes.readUInt8(MIB) ^ 1, MIB);
    await writeFile(stream, bytes);
    const refused = await pipeline(`ploop receive ${dst} < ${stream}`);
    expect(refused).toMatchObject({ statuses: [30] });
    expect(refused.stderr).toMatch(/frame \d+, at byte \d+ of the stream: checksum mismatch/);
    expect(await readdir(scratch.directory)).not.toContain('dst');
  });

  it('refuse what cannot be sent or received, and say why', async () => {
    const none = await pipeline(`ploop send ${src} > ${scratch.path('x')}`);
    expect(none).toMatchObject({ statuses: [8] });
    expect(none.stderr).toMatch(/only snapshots can be sent/);
    await ploop('snapshot', src, '--name', 'one');
    expect(await pipeline(`ploop send ${src} | ploop receive ${dst}`)).toMatchObject({ statuses: [0, 0] });
    const again = await pipeline(`ploop send ${src} | ploop receive ${dst}`);
    expect(again.statuses[1]).toBe(6);
    expect(await pipeline(`ploop receive ${scratch.path('other')} < /dev/null`)).toMatchObject({ statuses: [30] });
    expect(await ploop('receive', '--resume-token', dst)).toMatchObject({ status: 7 });
  });
});
