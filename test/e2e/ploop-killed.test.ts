// SPDX-License-Identifier: Apache-2.0
// Daemons killed with SIGKILL: what was written stays, and the next command explains or cleans up.
import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../src/attach/attachments.js';
import { native } from '../../src/native/index.js';
import { ploop } from '../helpers/command.js';
import { endPloopd } from '../helpers/end-ploopd.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { writeAt } from './device.js';

let dir: string;
scratchPerTest(async (places) => {
  ({ image: dir } = places);
  await ploop('create', dir, '--size', '16M', '--fs', 'none');
});

async function attached(): Promise<{ device: string; keeper: number; worker: number }> {
  return (await ploop('attach', dir, '--json')).json();
}

async function read(offset: number, length: number): Promise<string> {
  await using reader = await native.openReader(dir);
  return (await reader.read(offset, length)).toString();
}

describe.skipIf(lacks('root', 'fuse', 'loop'))('a daemon that was killed', () => {
  it('is shown as dead, explained, and cleaned up by detach', async () => {
    const { device, keeper, worker } = await attached();
    await writeAt(device, 0, Buffer.alloc(4096, 'z'));
    await endPloopd(keeper, worker);
    expect(await listAttachments()).toMatchObject([{ state: 'dead' }]);
    expect((await ploop('list')).stdout).toMatch(new RegExp(`${device} +fuse +dead`));
    expect((await ploop('info', dir)).stdout).toMatch(/its ploopd is gone/);
    expect((await ploop('detach', dir)).status).toBe(0);
    expect(await listAttachments()).toEqual([]);
    expect(await read(0, 4096)).toBe('z'.repeat(4096));
    expect((await ploop('check', dir)).status).toBe(0);
  });

  it('comes back when only the worker died', async () => {
    const { device, worker } = await attached();
    await writeAt(device, 0, Buffer.alloc(4096, '1'));
    process.kill(worker, 'SIGKILL');
    await writeAt(device, 4096, Buffer.alloc(4096, '2'));
    await expect.poll(async () => (await listAttachments())[0]).toMatchObject({ live: true, state: 'running', restarts: 1 });
    expect((await listAttachments())[0]?.worker).not.toBe(worker);
    expect((await ploop('detach', dir)).status).toBe(0);
    expect(await read(0, 8192)).toBe('1'.repeat(4096) + '2'.repeat(4096));
  });
});
