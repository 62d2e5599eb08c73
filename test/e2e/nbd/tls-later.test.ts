// SPDX-License-Identifier: Apache-2.0
// Daemons do without TLS until somebody wants it; then the worker hands over to one that has it, beside the device's load.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findAttachment } from '../../../src/attach/attachments.js';
import { unexportImage } from '../../../src/attach/exports.js';
import { run } from '../../../src/exec/run.js';
import { ploop } from '../../helpers/command.js';
import { lacks } from '../../helpers/require.js';
import { makeScratch, type Scratch } from '../../helpers/scratch.js';
import { attach, type Attached, createImage } from '../device.js';
import { client, exported, makeCredentials, MIB } from './exported.js';

const FIO = ['--name=verify', '--rw=randrw', '--iodepth=16', '--ioengine=libaio', '--direct=1', '--size=32M', '--bs=4k'].concat(
  ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'], // a first difference ends it
);

describe.skipIf(lacks('root', 'fuse', 'loop', 'fio', 'libnbd', 'certtool'))('TLS of an attached image', () => {
  let scratch: Scratch;
  let image: Attached;
  let psk: string;

  beforeEach(async () => {
    scratch = await makeScratch();
    image = await attach(scratch, await createImage(scratch, 'image', 64 * MIB));
    ({ psk } = await makeCredentials(scratch.path('pki')));
  });
  afterEach(() => scratch.clean());

  /** Of keeper and worker: is GnuTLS in their memory? */
  const haveTls = async (): Promise<boolean[]> => {
    const now = await findAttachment(image.dir, { runDir: scratch.runDir });
    const maps = await Promise.all([now?.keeper, now?.worker].map((pid) => readFile(`/proc/${pid}/maps`, 'utf8')));
    return maps.map((text) => text.includes('libgnutls'));
  };

  it('comes with the first export that asks for it, outlives worker and upgrade, and goes when nobody needs it', async () => {
    expect(await haveTls()).toEqual([false, false]);
    const load = run('fio', [...FIO, '--loops=4', `--filename=${image.device}`]);
    const one = await exported(scratch, image.dir, { listen: '127.0.0.1:0', tls: psk });
    await load;
    const size = async (): Promise<string> => {
      const secret = `${one.uri}?tls-psk-file=${psk}/keys.psk`.replace('nbds://127.0.0.1', 'nbds://alice@localhost');
      return (await client('nbdinfo', '--size', secret)).stdout.trim();
    };
    expect(await size()).toBe(String(64 * MIB));
    expect(await haveTls()).toEqual([true, true]);
    const before = await findAttachment(image.dir, { runDir: scratch.runDir });
    expect(before).toMatchObject({ state: 'running', restarts: 0 });
    process.kill(before?.worker ?? 0, 'SIGKILL');
    await expect.poll(() => findAttachment(image.dir, { runDir: scratch.runDir })).toMatchObject({ state: 'running', restarts: 1 });
    expect(await size()).toBe(String(64 * MIB));
    expect(await ploop('upgrade', image.dir)).toMatchObject({ status: 0 });
    expect(await size()).toBe(String(64 * MIB));
    await unexportImage(image.dir, { runDir: scratch.runDir });
    expect(await ploop('upgrade', image.dir)).toMatchObject({ status: 0 });
    expect(await haveTls()).toEqual([false, false]);
    await image.detach();
  });

  it('does not cut clients of another export off, but says that they are in the way', async () => {
    const plain = await exported(scratch, image.dir, { name: 'plain' });
    const socket = connect(plain.socket ?? '');
    await once(socket, 'data');
    const tls = { name: 'tls', listen: '127.0.0.1:0', tls: psk };
    await expect(exported(scratch, image.dir, tls)).rejects.toMatchObject({ code: 'BUSY' });
    expect(socket.destroyed).toBe(false);
    expect(await findAttachment(image.dir, { runDir: scratch.runDir })).toMatchObject({ worker: image.worker });
    socket.destroy();
    await expect.poll(() => exported(scratch, image.dir, tls).then(({ uri }) => uri.slice(0, 7))).toBe('nbds://');
    await unexportImage(image.dir, { runDir: scratch.runDir });
    await image.detach();
  });
});
