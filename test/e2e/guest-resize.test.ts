// SPDX-License-Identifier: Apache-2.0
// What needs CAP_SYS_RESOURCE, which many test machines lack: a mounted ext4 that grows.
import { describe, expect, it } from 'vitest';

import type { ResizedImage } from '../../src/filesystem/image/resize.js';
import type { FileSystemUsage } from '../../src/filesystem/usage.js';
import { runInGuest } from '../helpers/guest.js';
import { lacks } from '../helpers/require.js';

const MIB = 1024 * 1024;

interface Outcome {
  before: FileSystemUsage;
  after: FileSystemUsage;
  resized: ResizedImage;
  content: string;
}

describe.skipIf(lacks('root', 'guest'))('in a guest with all capabilities', () => {
  it('a mounted ext4 grows, beyond the room that mkfs left for growth, and keeps its files', async () => {
    const stdout = await runInGuest('test/e2e/guest/grow-mounted.ts', { modules: ['loop', 'ext4', 'fuse'], timeoutMs: 240_000 });
    const outcome = JSON.parse(stdout) as Outcome;
    expect(outcome.before.totalBytes).toBeLessThan(256 * MIB);
    expect(outcome.resized).toEqual({
      oldSizeBytes: 256 * MIB,
      sizeBytes: 8192 * MIB,
      grown: 'ext4',
      shrunk: null,
      mountPoint: '/tmp/mnt',
    });
    expect(outcome.after.totalBytes).toBeGreaterThan(7500 * MIB);
    expect(outcome.content).toBe('kept');
  }, 400_000);
});
