// SPDX-License-Identifier: Apache-2.0
// The ploop commands on attached images: real devices, real data, snapshots while it is in use.
import { cp, open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAt } from './device.js';

const MIB = 2 ** 20;

interface Attached {
  device: string;
  keeper: number;
  worker: number;
}

let dir: string;
const scratch = scratchPerTest((places) => void ({ image: dir } = places));

async function attached(...options: string[]): Promise<Attached> {
  const outcome = await ploop('attach', dir, ...options, '--json');
  expect(outcome).toMatchObject({ status: 0 });
  expect(differences('ploop attach', outcome.json())).toEqual([]);
  return outcome.json<Attached>();
}

async function read(options: { snapshot?: string }, offset: number, length: number): Promise<Buffer> {
  await using reader = await native.openReader(dir, options);
  return reader.read(offset, length);
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('an attached image', () => {
  it('keeps what was written through its device; snapshots taken meanwhile keep what was before', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    const { device } = await attached();
    await writeAt(device, 0, Buffer.alloc(MIB, 'a'));
    await writeAt(device, 40 * MIB, Buffer.alloc(8192, 'b'));
    const taken = await ploop('snapshot', dir, '--name', 'before', '--json');
    expect(differences('ploop snapshot', taken.json())).toEqual([]);
    expect(taken.json()).toMatchObject({ live: true, frozenMs: null, pausedUs: expect.any(Number) as number });
    await writeAt(device, 4096, Buffer.alloc(4096, 'c'));

    const info = await ploop('info', dir, '--json');
    expect(differences('ploop info', info.json())).toEqual([]);
    expect(info.json()).toMatchObject({
      attachments: [{ device, live: true, mountPoints: [] }],
      snapshots: [{ name: 'before', current: true }],
    });
    const map = await ploop('map', dir, '--json');
    expect(differences('ploop map', map.json())).toEqual([]);
    const [first, second, third] = map.json<{ extents: { offset: number; length: number; layer: string }[] }>().extents;
    expect([first?.length, second?.offset, second?.length, third?.offset]).toEqual([4096, 4096, 4096, 8192]);
    expect(second?.layer).not.toBe(first?.layer);

    const detached = await ploop('detach', dir, '--json');
    expect(differences('ploop detach', detached.json())).toEqual([]);
    expect(await listAttachments()).toEqual([]);

    expect((await read({}, 0, 12288)).toString()).toBe('a'.repeat(4096) + 'c'.repeat(4096) + 'a'.repeat(4096));
    expect((await read({ snapshot: 'before' }, 0, 8192)).toString()).toBe('a'.repeat(8192));
    expect((await read({}, 40 * MIB, 8192)).toString()).toBe('b'.repeat(8192));
    const kept = (await ploop('snapshot-switch', dir, 'before', '--json')).json<{ kept: { id: string } }>().kept;
    expect((await read({ snapshot: kept.id }, 0, 12288)).toString()).toBe('a'.repeat(4096) + 'c'.repeat(4096) + 'a'.repeat(4096));
    expect((await ploop('snapshot-delete', dir, kept.id)).status).toBe(0);
    expect((await ploop('snapshot-switch', dir, 'before', '--discard', '--json')).json()).toMatchObject({ kept: null });
    expect((await read({}, 4096, 4096)).toString()).toBe('a'.repeat(4096));
    expect((await ploop('snapshot-delete', dir, 'before')).status).toBe(0);
    expect((await read({}, 4096, 4096)).toString()).toBe('a'.repeat(4096));
    expect((await ploop('check', dir)).status).toBe(0);
  });

  it('refuses what needs it detached, saying who holds it and the way out', async () => {
    await ploop('create', dir, '--size', '16M', '--fs', 'none');
    await ploop('snapshot', dir, '--name', 'one');
    const { device, keeper } = await attached();
    for (const command of [
      ['attach', dir],
      ['check', dir],
      ['snapshot-switch', dir, 'one'],
    ]) {
      const outcome = await ploop(...command);
      expect(outcome.status).toBe(11);
      expect(outcome.stderr).toContain(device);
      expect(outcome.stderr).toContain(String(keeper));
      expect(outcome.stderr).toContain('ploop detach');
    }
    expect((await ploop('detach', device)).status).toBe(0);
    expect((await ploop('check', dir)).status).toBe(0);
  });

  it('is listed with where it is mounted, and not detached while it is', async () => {
    const made = await ploop('create', dir, '--size', '64M', '--label', 'test', '--json');
    expect(made).toMatchObject({ status: 0 });
    expect(await listAttachments()).toEqual([]);
    const { mountPoint } = scratch;
    const mount = await ploop('mount', dir, mountPoint, '--json');
    expect(mount).toMatchObject({ status: 0 });
    expect(differences('ploop mount', mount.json())).toEqual([]);

    const list = await ploop('list', '--json');
    expect(differences('ploop list', list.json())).toEqual([]);
    expect(list.json()).toMatchObject({ attachments: [{ directory: dir, mountPoints: [mountPoint], state: 'running' }] });
    const detach = await ploop('detach', dir);
    expect(detach.status).toBe(13);
    expect(detach.stderr).toMatch(new RegExp(`/dev/loop\\d+ is mounted on ${mountPoint}[\\s\\S]*ploop umount ${mountPoint}`));

    const taken = await ploop('snapshot', dir, '--json');
    expect(taken.json()).toMatchObject({ live: true, frozenMs: expect.any(Number) as number });
    const info = await ploop('info', dir, '--json');
    expect(differences('ploop info', info.json())).toEqual([]);
    const { fileSystem } = info.json<{ fileSystem: object }>();
    expect(differences('ploop info', fileSystem, 'file system')).toEqual([]);
    expect(fileSystem).toMatchObject({ type: 'ext4', label: 'test', usage: { source: 'mounted' } });
    const umount = await ploop('umount', dir, '--json');
    expect(differences('ploop umount', umount.json())).toEqual([]);
    expect((await ploop('info', dir, '--json')).json()).toMatchObject({ fileSystem: { type: 'ext4', usage: { source: 'superblock' } } });
  });

  it('shows a snapshot as a read-only device, beside its top', async () => {
    await ploop('create', dir, '--size', '16M', '--fs', 'none');
    const { device } = await attached();
    await writeAt(device, 0, Buffer.alloc(4096, 'x'));
    await ploop('snapshot', dir, '--name', 'kept');
    await writeAt(device, 0, Buffer.alloc(4096, 'y'));
    await ploop('detach', dir);
    const shown = await attached('--snapshot', 'kept');
    const file = await open(shown.device, 'r');
    const bytes = Buffer.alloc(4096);
    await file.read(bytes, 0, 4096, 0);
    await file.close();
    expect(bytes.toString()).toBe('x'.repeat(4096));
    await expect(writeAt(shown.device, 0, Buffer.alloc(4096))).rejects.toThrow();
    const plain = await ploop('detach', dir);
    expect(plain).toMatchObject({ status: 12, stderr: expect.stringContaining('give --snapshot or --all') as string });
    const top = await attached();
    expect(top.device).not.toBe(shown.device);
    expect((await ploop('list', '--json')).json<{ attachments: unknown[] }>().attachments).toHaveLength(2);
    expect((await ploop('detach', dir)).status).toBe(0);
    const deleting = await ploop('snapshot-delete', dir, 'kept');
    expect(deleting.status).toBe(11);
    expect(deleting.stderr).toMatch(/snapshot [0-9a-f]{8} of .* is attached as [\s\S]*ploop detach .* --snapshot [0-9a-f]{8}/);
    expect((await ploop('detach', dir, '--snapshot', 'kept')).status).toBe(0);
  });

  it('answers on its control socket, also to several at once', async () => {
    await ploop('create', dir, '--size', '16M', '--fs', 'none');
    await attached();
    const [one] = await listAttachments();
    if (one === undefined) throw new Error('not attached');
    const answers = await Promise.all(Array.from({ length: 20 }, () => control(one, 'info', {})));
    expect(new Set(answers.map((answer) => answer.size))).toEqual(new Set([16 * MIB]));
    await expect(control(one, 'resize', { size: 1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await control(one, 'stats', {})).toMatchObject({ inflight: expect.any(Number) as number });
  });

  it('is not taken for a copy of its directory, nor the copy for it', async () => {
    await ploop('create', dir, '--size', '64M', '--fs', 'none');
    const copy = scratch.path('copy');
    await cp(dir, copy, { recursive: true });
    await attached();
    expect(await ploop('attach', copy)).toMatchObject({ status: 11, stderr: expect.stringContaining(`is a copy of ${dir}`) as string });
    expect(await ploop('check', copy)).toMatchObject({ status: 0 });
    expect(await ploop('snapshot', copy, '--name', 'of-the-copy')).toMatchObject({ status: 0 });
    expect((await ploop('snapshot-list', dir)).stdout).not.toContain('of-the-copy');
    expect(await ploop('detach', copy)).toMatchObject({ status: 12 });
    expect(await ploop('detach', dir)).toMatchObject({ status: 0 });
  });
});
