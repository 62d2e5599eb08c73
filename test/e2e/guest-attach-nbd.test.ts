// SPDX-License-Identifier: Apache-2.0
// What needs a kernel with nbd: an image attached through its client (--via nbd), in one boot.
import { beforeAll, describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;

describe.skipIf(lacks('root', 'guest', 'nbd-client', 'fio'))("an image attached through the kernel's NBD client, in a guest", () => {
  let outcome: Record<string, unknown>;

  beforeAll(async () => {
    const modules = ['nbd', 'loop', 'ext4', 'fuse'];
    const stdout = await runInGuest('test/e2e/guest/attach-nbd.ts', { modules, timeoutMs: 300_000 });
    // How far it got comes before.
    outcome = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
  }, 400_000);

  it('is what PLOOP_VIA asks for, with flush, FUA and discards; the keeper has one capability more than the worker', () => {
    expect(outcome['looked']).toEqual({
      via: 'nbd',
      isNbd: true,
      bytes: 96 * MIB,
      logical_block_size: 512,
      fua: 1,
      io_timeout: 2000,
      discards: true,
      zeroes: true,
      keeper: { effective: '0000000000204002', seccomp: '2' },
      worker: { effective: '0000000000004002', seccomp: '2' },
    });
  });

  it('loses nothing when its worker is killed under fio --verify, or replaced by an upgrade, which repeats no request', () => {
    expect(outcome['died']).toEqual({ underLoad: 3, status: 0, errors: 0, restarts: 2, renewedByUpgrade: 0, failed: 0 });
  });

  it('takes a snapshot and grows with its file system while mounted; the snapshot is a read-only device', () => {
    const bytes = 192 * MIB;
    expect(outcome['grown']).toEqual({ sizeBytes: bytes, grown: 'ext4', shows: bytes, old: 'before', readOnly: true, now: 'after' });
  });

  it('gives the space of deleted files back', () => {
    expect(outcome['given']).toEqual({ mebibytes: true });
  });

  it('keeps its connection while a limit holds requests back for longer than the timer of the kernel', () => {
    expect(outcome['limited']).toEqual({ bps: 65536, timers: [5000, 2000], status: 0, errors: 0, renewed: 0 });
  });

  it('gets a new keeper; without keeper and worker it can be unmounted, and attached again', () => {
    expect(outcome['kept']).toEqual({ recovered: 'running', mounted: 'MOUNTED', left: 0, content: 'served' });
  });

  it('waits with --on-full pause for longer than the timer of the kernel, and goes on', () => {
    expect(outcome['paused']).toEqual({ refused: 'NO_SPACE', status: 0, errors: 0, renewed: 0, findings: [] });
  });

  it('is closed in order when nbd-client -d takes the device away', () => {
    expect(outcome['taken']).toEqual({ folder: 'ENOENT' });
    expect(outcome['findings']).toEqual([]);
  });
});
