// SPDX-License-Identifier: Apache-2.0
// A client of an attachment's control socket: JSON lines, answers in any order (docs/control.md).
// Aborting a request sends `cancel` and waits for the daemon's own answer, so that nobody leaves while work goes on.

import type { Socket } from 'node:net';

import { isErrorCode, PloopError } from '../errors.js';
import type { Attachment } from './attachments.js';
import type { ControlOperation, ControlOperations } from './control-operations.js';
import { connectControl, logHint } from './connect.js';

export interface RequestOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Without progress for this long: TIMEOUT. Default one minute; 0 = wait for ever. */
  timeoutMs?: number | undefined;
}

interface Pending {
  op: string;
  resolve(result: unknown): void;
  reject(error: PloopError): void;
  onProgress: RequestOptions['onProgress'];
  restartTimer(): void;
}

interface Reply {
  id?: number | null;
  ok?: boolean;
  result?: unknown;
  error?: { code?: string; message?: string; hint?: string };
  progress?: { done: number; total: number };
}

/** Longest answer we take; a map of 512 extents is about 64 KiB. */
const MAX_LINE_CHARACTERS = 4 * 2 ** 20;

export class ControlClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #buffer = '';
  #nextId = 1;
  #ended: PloopError | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', (error) => this.#end(lost(error)));
    socket.on('close', () => this.#end(lost()));
    if (socket.destroyed) this.#end(lost());
  }

  static async connect(attachment: Pick<Attachment, 'folder'>): Promise<ControlClient> {
    const socket = await connectControl(attachment);
    return new ControlClient(socket);
  }

  request<Op extends ControlOperation>(
    op: Op,
    args: ControlOperations[Op][0],
    options: RequestOptions = {},
  ): Promise<ControlOperations[Op][1]> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (options.signal?.aborted) return Promise.reject(new PloopError('INTERRUPTED', `${op}: interrupted before it was sent`));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = idleTimer(options.timeoutMs ?? 60_000, (ms) => {
        this.#settle(id)?.reject(new PloopError('TIMEOUT', `${op}: the image's ploopd did not answer within ${ms} ms`));
      });
      const cancel = (): void => this.#send({ id: this.#nextId++, op: 'cancel', target: id });
      options.signal?.addEventListener('abort', cancel, { once: true });
      const finish = (): void => {
        timer.stop();
        options.signal?.removeEventListener('abort', cancel);
      };
      this.#pending.set(id, {
        op,
        onProgress: options.onProgress,
        restartTimer: timer.restart,
        resolve: (result) => (finish(), resolve(result as ControlOperations[Op][1])),
        reject: (error) => (finish(), reject(error)),
      });
      this.#send({ id, op, ...args });
    });
  }

  /** Idempotent. Requests in flight are rejected; the daemon finishes what it began. */
  close(): void {
    this.#end(new PloopError('DAEMON', 'the control connection was closed'));
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #send(message: object): void {
    if (this.#ended === null) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #receive(text: string): void {
    this.#buffer += text;
    const lines = this.#buffer.split('\n');
    this.#buffer = lines.pop() ?? '';
    for (const line of lines) this.#answer(line);
    if (this.#buffer.length > MAX_LINE_CHARACTERS) {
      this.#end(new PloopError('DAEMON', 'the ploopd sent an endless line'));
      this.#socket.destroy();
    }
  }

  #answer(line: string): void {
    let reply: Reply;
    try {
      reply = JSON.parse(line) as Reply;
    } catch (error) {
      this.#end(new PloopError('DAEMON', 'the ploopd sent a line that is not JSON', { cause: error }));
      this.#socket.destroy();
      return;
    }
    if (typeof reply.id !== 'number') return;
    if (reply.progress !== undefined) {
      const pending = this.#pending.get(reply.id);
      pending?.restartTimer();
      pending?.onProgress?.(reply.progress.done, reply.progress.total);
      return;
    }
    const pending = this.#settle(reply.id);
    if (reply.ok === true) pending?.resolve(reply.result);
    else pending?.reject(refusal(pending.op, reply));
  }

  #end(error: PloopError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    for (const [id] of this.#pending) this.#settle(id)?.reject(error);
  }
}

/** Connects, asks one thing, closes. */
export async function control<Op extends ControlOperation>(
  attachment: Attachment,
  op: Op,
  args: ControlOperations[Op][0],
  options: RequestOptions = {},
): Promise<ControlOperations[Op][1]> {
  if (!attachment.live) throw deadDaemon(attachment);
  if (attachment.state === 'stopped') throw stoppedDaemon(attachment);
  const client = await ControlClient.connect(attachment);
  try {
    return await client.request(op, args, options);
  } catch (error) {
    throw inContext(error, attachment, op);
  } finally {
    client.close();
  }
}

/** The worker ended while it was asked: another one takes over, and the same may be asked of that. */
export function workerIsLost(error: unknown): boolean {
  return error instanceof PloopError && error.details?.['lost'] === true;
}

/** A worker knows neither the image's directory nor commands, so it can't say which image, nor the way out. */
function inContext(error: unknown, attachment: Attachment, op: string): unknown {
  if (!(error instanceof PloopError) || error.hint !== undefined) return error;
  const { directory } = attachment;
  const { code, details } = error;
  if (workerIsLost(error)) {
    return new PloopError(code, `the worker that serves ${directory} ended while it did: ${op}`, {
      hint: `Another one takes over. Run the same command again; ${logHint(attachment)}`,
      details,
      cause: error,
    });
  }
  if (code === 'READ_ONLY' && error.message.endsWith(': the image is attached read-only')) {
    return new PloopError(code, `${directory} is attached read-only: no ${op.replace('-prepare', '')} now`, {
      hint: 'Detach it, or mount it writable, then run the same command again.',
      details,
      cause: error,
    });
  }
  const other = /: an? (\S+) of this image is under way$/.exec(error.message)?.[1];
  if (code !== 'BUSY' || other === undefined) return error;
  const [mine, theirs] = [op, other].map((one) => one.replace('-prepare', ''));
  return new PloopError(code, `${directory}: ${mine} can't begin while a ${theirs} is under way`, {
    hint: 'Wait until that has ended, or interrupt its command (which loses nothing); then run this one again.',
    details: { ...details, underWay: theirs },
    cause: error,
  });
}

export function deadDaemon(attachment: Attachment): PloopError {
  const message = `the ploopd of ${attachment.directory} (pid ${attachment.keeper}) is gone; ${attachment.device ?? 'its device'} is no longer served`;
  return new PloopError('DAEMON', message, { hint: `Clean up with: ploop detach ${attachment.directory}; ${logHint(attachment)}` });
}

/** No worker serves the device any more; its requests wait. */
export function stoppedDaemon(attachment: Attachment): PloopError {
  const { directory, lastError, stateSince, restarts } = attachment;
  const message = `no worker serves ${directory}: five died within ten seconds, so nothing was tried since ${stateSince}; ${lastError ?? 'see the log'}`;
  const hint = `Its requests wait. Remove the cause (${logHint(attachment)}), then: ploop recover ${directory}`;
  return new PloopError('DAEMON', message, { hint, details: { state: 'stopped', since: stateSince, lastError, restarts } });
}

function lost(error?: Error): PloopError {
  const message = `the image's ploopd ended the connection${error === undefined ? '' : `: ${error.message}`}`;
  return new PloopError('DAEMON', message, { details: { lost: true }, cause: error });
}

function refusal(op: string, reply: Reply): PloopError {
  const { code, message, hint } = reply.error ?? {};
  return new PloopError(isErrorCode(code) ? code : 'DAEMON', message ?? `${op}: the ploopd gave no reason`, { hint });
}

function idleTimer(ms: number, expired: (ms: number) => void): { restart(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => clearTimeout(timer);
  const restart = (): void => {
    stop();
    if (ms > 0) timer = setTimeout(() => expired(ms), ms);
  };
  restart();
  return { restart, stop };
}
