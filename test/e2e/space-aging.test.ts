// SPDX-License-Identifier: Apache-2.0
// The aging workload of `npm run bench -- space`, small: an old ext4 costs the host little more than it uses, no file changes.
import { describe, expect, it } from 'vitest';
import { statfs } from 'node:fs/promises';

import { age, AGING, changedFiles, checksums } from '../../bench/space/aging.js';
import { ourImage } from '../../bench/space/subject.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const MIB = 2 ** 20;

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4'))('an aged file system', () => {
  it.each([
    { discard: 'block', blockSizeBytes: 4096, packed: false },
    { discard: 'cluster', blockSizeBytes: 4096, packed: true },
    { discard: 'block', blockSizeBytes: 65_536, packed: true },
  ] as const)('gives its space back with discards by $discard of $blockSizeBytes bytes', async ({ discard, blockSizeBytes, packed }) => {
    const subject = await ourImage({
      name: discard,
      folder: scratch.directory,
      runDir: scratch.runDir,
      sizeBytes: 128 * MIB,
      blockSizeBytes,
      discard,
    });
    const { files } = await age(subject.mountPoint, { ...AGING, generations: 3 });
    expect(files).toBeGreaterThan(100);
    const before = await checksums(subject.mountPoint);
    const aged = await subject.hostBytes();
    const pack = (await subject.compact?.())?.steps.find(({ step }) => step === 'pack');
    expect((pack?.movedBytes ?? 0) > 0).toBe(packed);
    const compacted = await subject.hostBytes();
    const { blocks, bfree, bsize } = await statfs(subject.mountPoint);
    const used = (blocks - bfree) * bsize;
    expect(compacted).toBeLessThan(aged);
    expect(compacted).toBeLessThanOrEqual(1.02 * used + 16 * MIB);
    // The journal is empty, its tables and those of the layer are what is left.
    if (packed) expect(compacted).toBeLessThanOrEqual(1.1 * used);
    // Runs e2fsck in between.
    await subject.remount();
    expect(changedFiles(before, await checksums(subject.mountPoint))).toBe(0);
    await subject.close();
  });
});
