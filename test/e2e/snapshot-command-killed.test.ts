// SPDX-License-Identifier: Apache-2.0
// `ploop snapshot` of a mounted image, and who serves it, killed while the file system is frozen: it is thawed by itself,
// nothing is lost, and the next snapshot works.
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment, type Attachment } from '../../src/attach/attachments.js';
import { ERROR_EXIT_STATUS } from '../../src/errors.js';
import { run } from '../../src/exec/run.js';
import { freezeFileSystem } from '../../src/filesystem/freeze.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { ploop, startCommand, type StartedCommand } from '../helpers/command.js';
import { type ControlGate, gateControl, type Line } from '../helpers/control-gate.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const BEFORE_SWITCH = (line: Line): boolean => line.startsWith('>') && line.includes('"op":"snapshot"');
const AFTER_SWITCH = (line: Line): boolean => line.startsWith('<') && line.includes('"progress"');
const WRITE_MS = 20_000;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('with the file system frozen for a snapshot', () => {
  let scratch: Scratch;
  let image: string;
  let mountPoint: string;
  let gate: ControlGate | undefined;
  let command: StartedCommand | undefined;

  beforeEach(async () => {
    scratch = await makeScratch();
    image = scratch.path('image');
    mountPoint = scratch.path('mnt');
    await mkdir(mountPoint);
    await ploop('create', image, '--size', '256M', '--fs', 'ext4');
    await ploop('mount', image, mountPoint);
    await write('before');
  });
  afterEach(async () => {
    if (command?.child.signalCode === null) command.signalGroup('SIGKILL');
    await gate?.close();
    [gate, command] = [undefined, undefined];
    // Whatever a failed test left: a frozen file system can't be unmounted.
    await run('fsfreeze', ['-u', mountPoint], { accept: 'any' });
    await scratch.clean();
  });

  const attachment = async (): Promise<Attachment> => (await findAttachment(image)) as Attachment;
  const names = async (): Promise<(string | null)[]> => (await listSnapshots(image)).map(({ name }) => name);
  /** In a process of its own: a write to a frozen file system can't be interrupted. */
  const write = (name: string): Promise<unknown> =>
    run('dd', [`of=${join(mountPoint, name)}`, 'conv=fsync', 'status=none'], { input: name, timeoutMs: WRITE_MS });

  /** `ploop snapshot` runs, the file system is frozen, and the line waits. */
  async function frozen(holds: (line: Line) => boolean): Promise<{ pid: number; gate: ControlGate; command: StartedCommand }> {
    gate = await gateControl((await attachment()).folder, holds);
    command = startCommand('ploop', ['snapshot', image, '--name', 'held']);
    await Promise.race([gate.held, command.ended]);
    await expect(freezeFileSystem(mountPoint)).rejects.toMatchObject({ code: 'BUSY' });
    return { pid: command.child.pid as number, gate, command };
  }

  async function goesOn(kept: string[]): Promise<void> {
    await gate?.close();
    gate = undefined;
    await write('after');
    expect(await ploop('snapshot', image, '--name', 'next')).toMatchObject({ status: 0 });
    expect(await names()).toEqual([...kept, 'next']);
    for (const name of ['before', 'after']) expect(await readFile(join(mountPoint, name), 'utf8')).toBe(name);
    expect(await ploop('umount', mountPoint)).toMatchObject({ status: 0 });
    expect(await native.check(image)).toMatchObject({ findings: [] });
    const then = scratch.path('then');
    await mkdir(then);
    for (const name of [...kept, 'next']) {
      expect(await ploop('mount', image, then, '--snapshot', name)).toMatchObject({ status: 0 });
      expect((await readdir(then)).filter((one) => one !== 'lost+found')).toEqual(name === 'next' ? ['after', 'before'] : ['before']);
      expect(await ploop('umount', then)).toMatchObject({ status: 0 });
    }
  }

  it.each([
    ['before the switch', BEFORE_SWITCH, []],
    ['after the switch', AFTER_SWITCH, ['held']],
  ] as const)('the command is killed %s', async (_, holds, kept) => {
    const one = await frozen(holds);
    process.kill(one.pid, 'SIGKILL');
    expect(await one.command.ended).toMatchObject({ signal: 'SIGKILL' });
    await goesOn([...kept]);
  });

  it('the holder of the freeze is killed: the command thaws, and says that the snapshot is none to rely on', async () => {
    const one = await frozen(AFTER_SWITCH);
    const children = (await readFile(`/proc/${one.pid}/task/${one.pid}/children`, 'utf8')).trim().split(' ');
    expect(children).toHaveLength(1);
    process.kill(Number(children[0]), 'SIGKILL');
    one.gate.release();
    expect(await one.command.ended).toMatchObject({
      status: ERROR_EXIT_STATUS.TIMEOUT,
      stderr: expect.stringContaining('ended before the work was done') as string,
    });
    await goesOn(['held']);
  });

  it.each([
    ['before the switch', BEFORE_SWITCH, []],
    ['after the switch', AFTER_SWITCH, ['held']],
  ] as const)('the worker is killed %s', async (_, holds, kept) => {
    const one = await frozen(holds);
    const { worker, restarts } = await attachment();
    process.kill(worker as number, 'SIGKILL');
    expect(await one.command.ended).toMatchObject({ stderr: expect.stringContaining('ended while it did: snapshot') as string });
    await expect.poll(attachment).toMatchObject({ state: 'running', restarts: restarts + 1 });
    await goesOn([...kept]);
  });

  it('the keeper is killed: the snapshot is taken, and recover gives the worker another', async () => {
    const one = await frozen(BEFORE_SWITCH);
    process.kill((await attachment()).keeper, 'SIGKILL');
    one.gate.release();
    expect(await one.command.ended).toMatchObject({ status: 0 });
    expect(await ploop('recover', image)).toMatchObject({ status: 0 });
    await goesOn(['held']);
  });

  it.each([
    ['before the switch', BEFORE_SWITCH, []],
    ['after the switch', AFTER_SWITCH, ['held']],
  ] as const)(
    'keeper and worker are killed %s: what was written before the freeze is there after the next mount',
    async (_, holds, kept) => {
      const one = await frozen(holds);
      const { keeper, worker } = await attachment();
      for (const pid of [keeper, worker as number]) process.kill(pid, 'SIGKILL');
      expect(await one.command.ended).toMatchObject({ stderr: expect.stringContaining('ended while it did: snapshot') as string });
      await one.gate.close();
      expect(await ploop('umount', mountPoint)).toMatchObject({ status: 0 });
      expect(await ploop('mount', image, mountPoint)).toMatchObject({ status: 0 });
      await goesOn([...kept]);
    },
  );
});
