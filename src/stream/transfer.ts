// SPDX-License-Identifier: Apache-2.0
// One run of ploop-stream (csrc/stream/main.c), or of a `ploop receive` elsewhere: its progress, its result, its error.

import { isErrorCode, PloopError } from '../errors.js';
import { type Flow, type FlowOptions, startFlow } from '../exec/flow.js';
import { nativeFile } from '../native/binding.js';

export interface TransferOptions {
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** What a stream held, as either side tells it. */
export interface Transferred {
  /** The snapshot it builds on; null: a whole image. */
  from: string | null;
  /** The last snapshot in it. */
  to: string;
  snapshots: number;
  /** Bytes of the disk: sent as data, and as zeros. */
  dataBytes: number;
  zeroBytes: number;
  streamBytes: number;
  /** All that the program read, metadata, itself and (when receiving) the stream included; 0: the kernel does not tell. */
  readBytes: number;
  /** It went on with a broken transfer. */
  resumed: boolean;
}

interface Report {
  progress?: { done: number; total: number };
  ok?: boolean;
  result?: unknown;
  error?: { code?: string; message?: string };
}

export interface Running<T> {
  flow: Flow;
  result: Promise<T>;
}

/** Starts `ploop-stream COMMAND ARGS`; where stdin and stdout go is the caller's. */
export function startStream<T>(args: readonly string[], io: Pick<FlowOptions, 'stdin' | 'stdout'>, options: TransferOptions): Running<T> {
  let last: Report | undefined;
  const onReport = (line: unknown): void => {
    const report = line as Report;
    if (report.progress !== undefined) options.onProgress?.(report.progress.done, report.progress.total);
    else last = report;
  };
  const flow = startFlow(nativeFile('ploop-stream'), [...args, '--report', '3'], { ...io, onReport, signal: options.signal });
  const result = flow.ended.then(({ exitCode, stderr }) => {
    if (last?.ok === true) return last.result as T;
    const { code, message } = last?.error ?? {};
    if (isErrorCode(code)) throw new PloopError(code, message ?? code, { hint: hintFor(code, args) });
    throw new PloopError('TOOL_FAILED', `ploop-stream ended with status ${exitCode}: ${stderr.trim()}`);
  });
  result.catch(() => undefined);
  return { flow, result };
}

function hintFor(code: string, [command, dir = 'DIR']: readonly string[]): string | undefined {
  if (command === 'receive' && (code === 'BAD_STREAM' || code === 'INTERRUPTED' || code === 'NO_SPACE'))
    return `What has arrived whole is kept, if anything. For going on: ploop receive --resume-token ${dir}`;
  if (command === 'send' && code === 'SNAPSHOT_NOT_FOUND') return `See: ploop snapshot-list ${dir}; take one: ploop snapshot ${dir}`;
  return undefined;
}
