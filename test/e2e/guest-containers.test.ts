// SPDX-License-Identifier: Apache-2.0
// A host whose control groups are v2 alone, which few test machines are: its default runtime is crun.
import { describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';
import type { GuestOutcome } from './guest/containers.js';

describe.skipIf(lacks('root', 'guest', 'crun', 'runc', 'busybox'))('on a host with cgroup v2 alone', () => {
  it('containers run, go back to a snapshot and stop, under crun by default and under runc', { timeout: 500_000 }, async () => {
    const stdout = await runInGuest('test/e2e/guest/real-root.ts', {
      args: ['test/e2e/guest/containers.ts'],
      modules: ['loop', 'ext4', 'fuse'],
      timeoutMs: 400_000,
    });
    const { cgroupMode, life, again } = JSON.parse(stdout) as GuestOutcome;
    expect(cgroupMode).toBe('v2');
    expect(life).toMatchObject({ status: 'running', hostname: 'ct101', cgroup: '0::/', killed: false });
    expect(life.runtime).toMatch(/\/crun$/);
    expect(life.nproc).toBeGreaterThanOrEqual(1);
    expect(again).toEqual({ runtime: expect.stringMatching(/\/runc$/) as string, content: 'first' });
  });
});
