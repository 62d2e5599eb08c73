// SPDX-License-Identifier: Apache-2.0
// Where a copy goes: a directory of this machine, or of another one through ssh, where the same commands run.

import { deleteSnapshot } from '../attach/jobs.js';
import { PloopError } from '../errors.js';
import { type Flow, startFlow } from '../exec/flow.js';
import { listSnapshots } from '../image/snapshots.js';
import { checkPath } from '../native/arguments.js';
import { remoteAnswer, remoteHost, type RemoteHost } from './remote.js';
import { receiveArguments, resumeToken } from './receive.js';
import { type Running, startStream, type Transferred } from './transfer.js';

export interface DestinationOptions {
  /** Discard what was written to the copy. */
  force?: boolean | undefined;
  signal?: AbortSignal | undefined;
  runDir?: string | undefined;
}

export interface Destination {
  /** "HOST:DIR" or "DIR", as it was given. */
  readonly name: string;
  /** Starts a receiver; its `flow.input` is for the sender. */
  receive(): Running<Transferred>;
  /** Ids of the snapshots it has, hidden ones left out; null when there is no image. */
  snapshots(): Promise<string[] | null>;
  /** Of a transfer that broke; null when there is none. */
  token(): Promise<string | null>;
  deleteSnapshot(id: string): Promise<void>;
}

const ABSENT = ['NOT_FOUND', 'NOT_AN_IMAGE'];

function absentIsNull(error: unknown): null {
  if (error instanceof PloopError && ABSENT.includes(error.code)) return null;
  throw error;
}

/** "HOST:DIR" where the colon comes before any slash, as for scp. */
export function parseDestination(given: string, rsh: readonly string[], options: DestinationOptions): Destination {
  const [, host, dir] = /^([^/:]+):(.+)$/.exec(given) ?? [];
  if (host === undefined || dir === undefined) return localDestination(given, options);
  return remoteDestination(given, remoteHost(host, rsh), dir, options);
}

function localDestination(dir: string, options: DestinationOptions): Destination {
  const { force, signal } = options;
  checkPath('copy: destination', dir);
  return {
    name: dir,
    receive: () => startStream<Transferred>(receiveArguments(dir, { force }), { stdin: 'pipe', stdout: 'capture' }, { signal }),
    snapshots: () => listSnapshots(dir).then((list) => list.map((one) => one.id), absentIsNull),
    token: () => resumeToken(dir, { signal }).catch(absentIsNull),
    async deleteSnapshot(id) {
      await deleteSnapshot(dir, id, { signal, runDir: options.runDir });
    },
  };
}

function remoteDestination(name: string, remote: RemoteHost, dir: string, options: DestinationOptions): Destination {
  const { signal, force } = options;
  const ask = <T>(args: readonly string[]): Promise<T> => remote.ask<T>('ploop', args, signal);
  return {
    name,
    receive() {
      const command = remote.command('ploop', ['receive', dir, ...(force === true ? ['--force'] : [])]);
      const flow: Flow = startFlow(...command, { stdin: 'pipe', stdout: 'capture', signal });
      const result = flow.ended.then((ended) => remoteAnswer<Transferred>(remote.host, 'ploop', ended));
      result.catch(() => undefined);
      return { flow, result };
    },
    snapshots: () =>
      ask<{ snapshots: { id: string }[] }>(['snapshot-list', dir]).then((list) => list.snapshots.map((one) => one.id), absentIsNull),
    token: () => ask<{ token: string }>(['receive', '--resume-token', dir]).then((found) => found.token, absentIsNull),
    async deleteSnapshot(id) {
      await ask(['snapshot-delete', dir, id]);
    },
  };
}
