// SPDX-License-Identifier: Apache-2.0
// The control client against a peer that misbehaves in ways the real ploopd must not; the good cases are tested with the real one.
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Attachment } from '../../src/attach/attachments.js';
import { control, ControlClient } from '../../src/attach/control.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

type Answer = (request: { id: number; op: string; target?: number }, socket: Socket) => void;

describe('control client', () => {
  let scratch: Scratch;
  let server: Server;
  let answer: Answer;
  let client: ControlClient;

  beforeEach(async () => {
    scratch = await makeScratch();
    server = createServer((socket) => {
      let rest = '';
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        const lines = (rest + data.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) answer(JSON.parse(line) as Parameters<Answer>[0], socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(scratch.path('control'), resolve));
    client = await ControlClient.connect({ folder: scratch.directory });
  });

  afterEach(async () => {
    client.close();
    await new Promise((resolve) => server.close(resolve));
    await scratch.clean();
  });

  const say = (socket: Socket, message: object): void => void socket.write(`${JSON.stringify(message)}\n`);

  it('matches answers to requests in any order, even when lines come in pieces', async () => {
    const held: number[] = [];
    answer = ({ id }, socket) => {
      held.push(id);
      if (held.length < 2) return;
      const lines = held
        .toReversed()
        .map((one) => `{"id":${one},"ok":true,"result":{"size":${one}}}\n`)
        .join('');
      for (const byte of lines) socket.write(byte);
    };
    const [first, second] = await Promise.all([client.request('resize', { size: 1 }), client.request('resize', { size: 2 })]);
    expect([first.size, second.size]).toEqual([1, 2]);
  });

  it('turns a refusal into its code, and an unknown code into DAEMON', async () => {
    answer = ({ id, op }, socket) =>
      say(socket, { id, ok: false, error: op === 'flush' ? { code: 'NO_SPACE', message: 'full', hint: 'Make room.' } : { code: 'WHAT' } });
    await expect(client.request('flush', {})).rejects.toMatchObject({ code: 'NO_SPACE', message: 'full', hint: 'Make room.' });
    await expect(client.request('ping', {})).rejects.toMatchObject({ code: 'DAEMON', message: /ping: the ploopd gave no reason/ });
  });

  it('names the image and the way out where a worker can not', async () => {
    const attachment = { folder: scratch.directory, directory: '/vz/web', live: true, state: 'running' } as Attachment;
    const ask = (): Promise<unknown> => control(attachment, 'snapshot-prepare', {});
    const refuse = (code: string, message: string): void => {
      answer = ({ id }, socket) => say(socket, { id, ok: false, error: { code, message } });
    };
    refuse('BUSY', 'snapshot-prepare: a compact of this image is under way');
    await expect(ask()).rejects.toMatchObject({
      message: "/vz/web: snapshot can't begin while a compact is under way",
      hint: expect.stringContaining('Wait') as string,
      details: { underWay: 'compact' },
    });
    refuse('READ_ONLY', 'snapshot-prepare: the image is attached read-only');
    await expect(ask()).rejects.toMatchObject({ message: '/vz/web is attached read-only: no snapshot now', hint: /mount it writable/ });
    answer = (_, socket) => void socket.destroy();
    await expect(ask()).rejects.toMatchObject({ code: 'DAEMON', message: /serves \/vz\/web ended/, hint: /Run the same command again/ });
  });

  it('hands on progress, which keeps a slow answer from timing out', async () => {
    answer = ({ id }, socket) => {
      [1, 2, 3].forEach((done) => setTimeout(() => say(socket, { id, progress: { done, total: 3 } }), done * 60));
      setTimeout(() => say(socket, { id, ok: true, result: {} }), 240);
    };
    const seen: number[] = [];
    await client.request('compact', {}, { timeoutMs: 120, onProgress: (done) => seen.push(done) });
    expect(seen).toEqual([1, 2, 3]);
  });

  it('gives up on a peer that says nothing', async () => {
    answer = () => undefined;
    await expect(client.request('ping', {}, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('cancels on abort and waits for what the daemon says', async () => {
    const asked: string[] = [];
    answer = ({ id, op, target }, socket) => {
      asked.push(op);
      if (op !== 'cancel') return;
      say(socket, { id: target, ok: false, error: { code: 'INTERRUPTED', message: 'stopped' } });
      say(socket, { id, ok: true, result: {} });
    };
    const stop = new AbortController();
    const work = client.request('compact', {}, { signal: stop.signal });
    stop.abort();
    await expect(work).rejects.toMatchObject({ code: 'INTERRUPTED', message: 'stopped' });
    expect(asked).toEqual(['compact', 'cancel']);
  });

  it.each([
    ['hangs up', (socket: Socket) => void socket.destroy(), /ended the connection/],
    ['sends nonsense', (socket: Socket) => void socket.write('nonsense\n'), /not JSON/],
  ])('rejects everything in flight when the peer %s', async (_, act, message) => {
    answer = ({ op }, socket) => op === 'flush' && act(socket);
    const work = [client.request('ping', {}), client.request('flush', {})].map((one) => one.catch((error: unknown) => error));
    for (const error of await Promise.all(work)) expect(error).toMatchObject({ code: 'DAEMON', message });
    await expect(client.request('ping', {})).rejects.toMatchObject({ code: 'DAEMON' });
  });

  it('says where it tried to connect when nobody is there', async () => {
    await expect(ControlClient.connect({ folder: scratch.path('nowhere') })).rejects.toMatchObject({
      code: 'DAEMON',
      message: /no answer from the image's ploopd at .*nowhere\/control: ENOENT/,
    });
  });
});
