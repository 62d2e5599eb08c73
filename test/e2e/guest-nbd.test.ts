// SPDX-License-Identifier: Apache-2.0
// What needs a kernel with nbd: its own client on our server.
import { describe, expect, it } from 'vitest';

import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';

describe.skipIf(lacks('root', 'guest', 'nbd-client', 'fio'))("the kernel's NBD client, in a guest", () => {
  it('connects twice, carries ext4 with discards and verified writes, and leaves an image that checks clean', async () => {
    const stdout = await runInGuest('test/e2e/guest/nbd-client.ts', { modules: ['nbd', 'loop', 'ext4', 'fuse'], timeoutMs: 300_000 });
    expect(JSON.parse(stdout)).toEqual({ seen: { bytes: 256 * 2 ** 20, discard: true, fua: true }, content: 'kept', findings: [] });
  }, 400_000);
});
