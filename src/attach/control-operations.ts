// SPDX-License-Identifier: Apache-2.0
// The operations of a control socket: what each takes and gives (docs/control.md).

import type {
  DiscardPolicy,
  NativeCompactResult,
  NativeReclaimResult,
  NativeDiff,
  NativeExtent,
  NativeLayerUsage,
} from '../native/index.js';
import type { Job } from './jobs.js';
import type { OnFull } from './attachments.js';

interface OperationStats {
  requests: number;
  bytes: number;
  errors: number;
  ns: number;
}

interface CurrentLimits {
  iops: number | null;
  bps: number | null;
}

interface FullHost extends CurrentLimits {
  onFull: OnFull;
  /** Requests that wait for room on the host. */
  full: number;
  fullEvents: number;
  fullSince: string | null;
}

interface SnapshotText {
  name?: string;
  description?: string;
  holder?: string;
}

/** Microseconds. */
export interface SnapshotTimes {
  /** Writes and reads were held back. */
  pausedUs: number;
  /** Of that: until those under way had ended. */
  drainUs: number;
  /** Behind the pause, until the snapshot was durable: flushes waited. */
  settleUs: number;
  /** Until its layer was sealed: nobody waited. */
  sealUs: number;
}

/** op → [arguments, result] */
export interface ControlOperations {
  ping: [Record<string, never>, Record<string, never>];
  info: [
    Record<string, never>,
    {
      image: string;
      snapshot: string | null;
      readOnly: boolean;
      size: number;
      blockSize: number;
      discard: DiscardPolicy;
      top: string;
      layers: ({ id: string; parent: string | null } & NativeLayerUsage)[];
      pid: number;
      version: string;
    } & FullHost,
  ];
  stats: [
    Record<string, never>,
    Record<'read' | 'write' | 'flush' | 'discard' | 'writeZeroes' | 'status', OperationStats> & {
      inflight: number;
      inflightMax: number;
      /** In the queue, not started: for the limits, or for others to end. */
      waiting: number;
    } & FullHost,
  ];
  flush: [Record<string, never>, Record<string, never>];
  set: [
    { onFull?: OnFull; discard?: DiscardPolicy; iops?: number; bps?: number },
    { onFull: OnFull; discard: DiscardPolicy } & CurrentLimits,
  ];
  'snapshot-prepare': [SnapshotText, Record<string, never>];
  /** The first progress: the switch is done, and what was frozen around it may be thawed. */
  snapshot: [SnapshotText, { id: string } & SnapshotTimes];
  resize: [{ size: number }, { size: number }];
  compact: [Record<string, never>, NativeCompactResult];
  reclaim: [Record<string, never>, NativeReclaimResult];
  map: [{ offset?: number; length?: number; limit?: number }, { extents: NativeExtent[]; next: number | null }];
  space: [{ first?: number }, { blockSize: number; size: number; pages: { page: number; masks: string }[]; next: number | null }];
  diff: [{ from?: string; to?: string; offset?: number; length?: number; limit?: number; compare?: boolean }, NativeDiff];
  exports: [Record<string, never>, { exports: NbdExport[]; clients: number; device: boolean; tls: boolean }];
  unexport: [{ name: string; force?: boolean }, NbdExport];
  delete: [{ snapshot: string; rate?: number; background?: boolean }, { id: string; done: boolean; kept: boolean }];
  jobs: [Record<string, never>, { jobs: Job[] }];
  'job-wait': [{ job: string }, { id: string; done: boolean; kept: boolean }];
  'job-cancel': [{ job: string }, { id: string }];
  quit: [Record<string, never>, Record<string, never>];
}

/** What an export is, as the worker tells it (docs/nbd.md). */
export interface NbdExport {
  name: string;
  description: string | null;
  /** Of a unix socket. */
  socket: string | null;
  /** Of a TCP socket: "192.0.2.1:10809". */
  address: string | null;
  uri: string;
  tls: boolean;
  tlsDirectory: string | null;
  verifyPeer: boolean;
  readOnly: boolean;
  /** A client without a request is cut off after this long; 0 = never. */
  idleMs: number;
  /** Connected now. */
  clients: number;
}

export type ControlOperation = keyof ControlOperations;
