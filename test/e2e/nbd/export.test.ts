// SPDX-License-Identifier: Apache-2.0
// ploop export, exports, unexport: what may be exported, who may connect, and what outlives a worker.
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';

import { listAttachments } from '../../../src/attach/attachments.js';
import { type ImageExport, listExports, unexportImage } from '../../../src/attach/exports.js';
import { native } from '../../../src/native/index.js';
import { ploop } from '../../helpers/command.js';
import { differences } from '../../helpers/json-shape.js';
import { lacks } from '../../helpers/require.js';
import type { Places } from '../../helpers/scratch.js';
import { attach, killWorkerOf } from '../device.js';
import { client, exported, imagePerTest, makeCredentials, MIB } from './exported.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'libnbd', 'qemu-img'))('an NBD export', () => {
  let scratch: Places;
  let dir: string;
  imagePerTest(64 * MIB, (made, places) => void ([dir, scratch] = [made, places]));

  const write = (uri: string, byte: number): Promise<unknown> => client('qemu-io', '-f', 'raw', '-c', `write -P ${byte} 0 64k`, uri);
  const holds = (uri: string, byte: number): Promise<unknown> => client('qemu-io', '-r', '-f', 'raw', '-c', `read -P ${byte} 0 64k`, uri);
  const connected = async (one: ImageExport): Promise<Socket> => {
    const socket = connect(one.socket ?? '');
    await once(socket, 'data');
    return socket;
  };

  it('starts a daemon for a detached image, lists it, and ends with it (JSON as documented)', async () => {
    const socket = scratch.path('cli.sock');
    const made = (await ploop('export', dir, '--socket', socket, '--json')).json<ImageExport>();
    expect(differences('ploop export', made)).toEqual([]);
    expect(made).toMatchObject({
      name: basename(dir),
      uri: `nbd+unix:///${basename(dir)}?socket=${socket}`,
      readOnly: false,
      clients: 0,
    });
    expect((await stat(socket)).mode & 0o777).toBe(0o600);
    await write(made.uri, 7);
    expect(differences('ploop exports', (await ploop('exports', '--json')).json())).toEqual([]);
    const ended = await ploop('unexport', dir, '--json');
    expect(differences('ploop unexport', ended.json())).toEqual([]);
    expect(await listAttachments({ runDir: scratch.runDir })).toEqual([]);
    expect(existsSync(socket)).toBe(false);
    expect((await native.check(dir)).findings).toEqual([]);
    expect(await ploop('unexport', dir)).toMatchObject({ status: 7 });
  });

  it('is read-only beside a device and for a snapshot, which stays as it was', async () => {
    const image = await attach(scratch, dir);
    await client('dd', 'if=/dev/zero', `of=${image.device}`, 'bs=64k', 'count=1', 'oflag=direct', 'status=none');
    const id = await native.snapshot(dir).catch(() => null);
    expect(id).toBeNull(); // attached: it is taken through the daemon
    expect((await ploop('snapshot', dir, '--name', 'then')).status).toBe(0);
    const live = await exported(scratch, dir, { name: 'live' });
    const then = await exported(scratch, dir, { name: 'then', snapshot: 'then' });
    expect([live.readOnly, then.readOnly]).toEqual([true, true]);
    await expect(write(live.uri, 5)).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    await client('sh', '-c', `tr '\\0' '\\5' </dev/zero | dd of=${image.device} bs=64k count=1 oflag=direct iflag=fullblock status=none`);
    await holds(live.uri, 5);
    await holds(then.uri, 0);
    await unexportImage(dir, { runDir: scratch.runDir });
    expect((await listAttachments({ runDir: scratch.runDir })).map((one) => one.snapshot)).toEqual([null]);
    await image.detach();
  });

  it('is served again after kill -9 of the worker, with what it had acknowledged', async () => {
    const one = await exported(scratch, dir);
    for (let round = 1; round <= 3; round++) {
      await write(one.uri, round);
      await killWorkerOf(dir);
      await holds(one.uri, round);
    }
    expect(await listExports({ runDir: scratch.runDir })).toHaveLength(1);
    await unexportImage(dir, { runDir: scratch.runDir });
    expect((await native.check(dir)).findings).toEqual([]);
  });

  it('is served by the program that an upgrade brings', async () => {
    const one = await exported(scratch, dir);
    await write(one.uri, 9);
    expect(await ploop('upgrade', dir)).toMatchObject({ status: 0 });
    await holds(one.uri, 9);
    await unexportImage(dir, { runDir: scratch.runDir });
  });

  it('is not taken away from its clients, except by force', async () => {
    const one = await exported(scratch, dir);
    const socket = await connected(one);
    await expect(unexportImage(dir, { runDir: scratch.runDir })).rejects.toMatchObject({ code: 'BUSY' });
    expect(await ploop('detach', dir)).toMatchObject({
      status: 13,
      stderr: expect.stringContaining('1 NBD client is connected') as string,
    });
    const closed = once(socket.resume(), 'close');
    await unexportImage(dir, { runDir: scratch.runDir, force: true });
    await closed;
  });

  it('takes 16 clients and turns the next one away, without a word', async () => {
    const one = await exported(scratch, dir);
    const sockets = await Promise.all(Array.from({ length: 16 }, () => connected(one)));
    const next = connect(one.socket ?? '').resume();
    expect(await once(next, 'close')).toEqual([false]);
    expect(next.bytesRead).toBe(0);
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await listExports({ runDir: scratch.runDir }))[0]?.clients).toBe(0);
    await holds(one.uri, 0);
    await unexportImage(dir, { runDir: scratch.runDir });
  });

  it('refuses addresses that others can reach without TLS, used paths and used names, and leaves nothing behind', async () => {
    await expect(exported(scratch, dir, { listen: '0.0.0.0:0' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const file = scratch.path('taken.sock');
    await writeFile(file, 'mine');
    await expect(exported(scratch, dir, { name: 'taken' })).rejects.toMatchObject({ code: 'EXISTS' });
    expect(await readFile(file, 'utf8')).toBe('mine');
    expect(await listAttachments({ runDir: scratch.runDir })).toEqual([]);
    await exported(scratch, dir, { listen: '0.0.0.0:0', insecurePlain: true });
    await expect(exported(scratch, dir, { listen: '127.0.0.1:0' })).rejects.toMatchObject({ code: 'EXISTS' });
    await unexportImage(dir, { runDir: scratch.runDir });
  });

  it.skipIf(lacks('certtool'))('speaks TLS alone where it was told to: certificates, of both sides if wanted, and keys', async () => {
    const { x509, psk } = await makeCredentials(scratch.path('pki'));
    const anonymous = scratch.path('pki/anonymous');
    const uri = (one: ImageExport, rest: string): string => one.uri.replace('127.0.0.1', 'localhost') + rest;
    const size = async (target: string): Promise<string> => (await client('nbdinfo', '--size', target)).stdout.trim();

    const plain = await exported(scratch, dir, { name: 'cert', listen: '127.0.0.1:0', tls: x509 });
    expect(plain.uri).toMatch(/^nbds:/);
    expect(await size(uri(plain, `?tls-certificates=${anonymous}`))).toBe(String(64 * MIB));
    await expect(size(plain.uri.replace('nbds', 'nbd'))).rejects.toThrow(/requires TLS/);

    const mutual = await exported(scratch, dir, { name: 'both', listen: '127.0.0.1:0', tls: x509, verifyPeer: true });
    expect(await size(uri(mutual, `?tls-certificates=${x509}`))).toBe(String(64 * MIB));
    await expect(size(uri(mutual, `?tls-certificates=${anonymous}`))).rejects.toMatchObject({ code: 'TOOL_FAILED' });

    const keys = await exported(scratch, dir, { name: 'keys', listen: '127.0.0.1:0', tls: psk });
    const secret = uri(keys, `?tls-psk-file=${psk}/keys.psk`).replace('nbds://', 'nbds://alice@');
    expect(await size(secret)).toBe(String(64 * MIB));
    await writeFile(scratch.path('wrong.psk'), `alice:${'0'.repeat(64)}\n`);
    await expect(size(secret.replace(`${psk}/keys.psk`, scratch.path('wrong.psk')))).rejects.toMatchObject({ code: 'TOOL_FAILED' });

    await killWorkerOf(dir);
    await client('dd', 'if=/dev/urandom', `of=${scratch.path('raw')}`, 'bs=1M', 'count=64', 'status=none');
    await client('nbdcopy', scratch.path('raw'), secret);
    await client('nbdcopy', uri(plain, `?tls-certificates=${anonymous}`), scratch.path('back'));
    await client('cmp', scratch.path('raw'), scratch.path('back'));
    await unexportImage(dir, { runDir: scratch.runDir });
    await expect(exported(scratch, dir, { listen: '127.0.0.1:0', tls: scratch.path('nowhere') })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await listAttachments({ runDir: scratch.runDir })).toEqual([]);
  });
});
