// SPDX-License-Identifier: Apache-2.0
// Images attached through ublk, in a guest whose kernel has it.
import { describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';

const BYTES = 96 * 2 ** 20;

describe.skipIf(lacks('root', 'guest', 'fio'))('an image attached through ublk, in a guest', () => {
  it('does all that one does through a loop device, whoever is killed, and is left sound', async () => {
    const modules = ['ublk_drv', 'ext4'];
    const stdout = await runInGuest('test/e2e/guest/attach-ublk.ts', { modules, timeoutMs: 300_000 });
    // How far it got comes before.
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toEqual({
      looked: {
        via: 'ublk',
        isUblk: true,
        bytes: BYTES,
        logical_block_size: 512,
        discard_granularity: 4096,
        fua: 1,
        // CAP_SYS_ADMIN, CAP_IPC_LOCK and CAP_DAC_OVERRIDE; the worker gave up the first.
        keeper: { effective: '0000000000204002', seccomp: '2' },
        worker: { effective: '0000000000004002', seccomp: '2' },
      },
      deaths: { status: 0, errors: 0, restarts: 4, failed: 0 },
      giveBack: { given: true, bounded: true },
      // Debian's 6.12 can't show another size: refused before anything has changed.
      snapshotAndGrow: {
        frozen: true,
        old: 'before',
        readOnly: true,
        now: 'after',
        resized: 'UNSUPPORTED',
        bytes: [BYTES, BYTES],
      },
      limited: { bps: 65536, status: 0, errors: 0 },
      stopped: { refused: 'DAEMON', state: 'running' },
      keepers: { recovered: 'running', mounted: 'MOUNTED', left: 0, content: 'served' },
      pause: { refused: 'NO_SPACE', status: 0, errors: 0, opened: 'MOUNTED', findings: [] },
      killedLaunches: 0,
      findings: [],
    });
  }, 400_000);
});
