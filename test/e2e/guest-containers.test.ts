// SPDX-License-Identifier: Apache-2.0
// A host whose control groups are v2 alone, which few test machines are: its default runtime is crun.
import { beforeAll, describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';
import type { GuestOutcome } from './guest/containers.js';

describe.skipIf(lacks('root', 'guest', 'crun', 'runc', 'busybox'))('on a host with cgroup v2 alone', () => {
  let outcome: GuestOutcome;

  beforeAll(async () => {
    const stdout = await runInGuest('test/e2e/guest/containers.ts', {
      through: 'real-root.sh',
      modules: ['loop', 'ext4', 'fuse', 'nbd', 'ublk_drv'],
      timeoutMs: 500_000,
    });
    // How long it took comes before.
    outcome = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as GuestOutcome;
  }, 600_000);

  it('containers run, go back to a snapshot and stop, under crun by default and under runc', () => {
    const { cgroupMode, life, again } = outcome;
    expect(cgroupMode).toBe('v2');
    expect(life).toMatchObject({ status: 'running', hostname: 'ct101', cgroup: '0::/', killed: false });
    expect(life.runtime).toMatch(/\/crun$/);
    expect(life.nproc).toBeGreaterThanOrEqual(1);
    expect(again).toEqual({ runtime: expect.stringMatching(/\/runc$/) as string, content: 'first' });
  });

  it('they live as well with --via nbd and --via ublk, while a worker dies and their disk grows', () => {
    const deaths = [expect.stringContaining('signal 9 (KILL)') as string];
    const one = { killedUnderWrites: true, restarts: 1, deaths, sums: true, snapshots: ['one'], stopped: true, left: 0 };
    expect(outcome.through).toEqual([
      { ...one, via: 'nbd', device: '/dev/nbd', grown: 'true' },
      // Debian's 6.12 can't show another size of such a device.
      { ...one, via: 'ublk', device: '/dev/ublkb', grown: 'UNSUPPORTED' },
    ]);
  });
});
