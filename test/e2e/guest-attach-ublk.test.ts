// SPDX-License-Identifier: Apache-2.0
// Images attached through ublk, in a guest whose kernel has it.
import { describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;

describe.skipIf(lacks('root', 'guest', 'fio'))('an image attached through ublk, in a guest', () => {
  it('does all that one does through a loop device, under killed workers and a full host, and is left sound', async () => {
    const modules = ['ublk_drv', 'loop', 'ext4', 'fuse'];
    const stdout = await runInGuest('test/e2e/guest/attach-ublk.ts', { modules, timeoutMs: 300_000 });
    // How far it got comes before.
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toEqual({
      // 4002: CAP_DAC_OVERRIDE and CAP_IPC_LOCK; the worker gave up what the keeper has beyond that.
      seen: { bytes: 256 * MIB, sector: 4096, granularity: 4096, fua: true, via: 'ublk', capabilities: '4002' },
      frozen: true,
      tormented: { exitCode: 0, errors: [0], restarts: 4, state: 'running', upgraded: true },
      space: { filled: true, given: true },
      limits: 50,
      iops: 50,
      waiting: 0,
      // Debian's 6.12 can't: refused before anything has changed.
      resized: 'UNSUPPORTED',
      sizeBytes: 256 * MIB,
      mounted: 'MOUNTED',
      opened: 'MOUNTED',
      left: false,
      dead: 'MOUNTED',
      content: 'kept',
      full: { refused: 'NO_SPACE', exitCode: 0 },
      findings: [],
    });
  }, 400_000);
});
