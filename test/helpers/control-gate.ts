// SPDX-License-Identifier: Apache-2.0
// Stands in front of an attachment's control socket and holds one line back, so that a test can do something at just that
// moment of a command. What is not held goes through as it comes.
import { once } from 'node:events';
import { open, rename } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface ControlGate {
  /** The line has come, and waits. */
  held: Promise<void>;
  /** Lets it go on. */
  release(): void;
  /** Ends the connections that go through; the attachment's own socket is where it was. */
  close(): Promise<void>;
}

/** A line that a client sends (`>`) or gets (`<`). */
export type Line = `${'>' | '<'}${string}`;

const SOCKET = 'control';
const BEHIND = 'control-behind-gate';

function signal(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

export async function gateControl(folder: string, holds: (line: Line) => boolean): Promise<ControlGate> {
  const directory = await open(folder, 'r');
  // Through the descriptor: the path of a socket has 107 characters.
  const at = (name: string): string => `/proc/self/fd/${directory.fd}/${name}`;
  const sockets = new Set<Socket>();
  const held = signal();
  const released = signal();
  await rename(at(SOCKET), at(BEHIND));
  const server = createServer((client) => {
    const worker = createConnection(at(BEHIND));
    for (const one of [client, worker]) {
      sockets.add(one);
      one.on('error', () => undefined).on('close', () => (client.destroy(), worker.destroy(), sockets.delete(one)));
    }
    const pass = async (from: Socket, to: Socket, way: '>' | '<'): Promise<void> => {
      for await (const line of createInterface({ input: from })) {
        if (holds(`${way}${line}`)) {
          held.resolve();
          await released.promise;
        }
        to.write(`${line}\n`);
      }
    };
    void pass(client, worker, '>').catch(() => undefined);
    void pass(worker, client, '<').catch(() => undefined);
  });
  server.listen(at(SOCKET));
  await once(server, 'listening');
  return { held: held.promise, release: released.resolve, close };

  async function close(): Promise<void> {
    released.resolve();
    const closed = once(server, 'close');
    server.close();
    for (const one of sockets) one.destroy();
    await closed;
    await rename(at(BEHIND), at(SOCKET)).catch(() => undefined);
    await directory.close();
  }
}
