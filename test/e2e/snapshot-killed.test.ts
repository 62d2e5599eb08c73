// SPDX-License-Identifier: Apache-2.0
// Snapshots of a mounted image whose worker dies meanwhile: the file system is thawed, and nothing that was written is lost.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { findAttachment, type Attachment } from '../../src/attach/attachments.js';
import { takeSnapshot } from '../../src/attach/operations.js';
import { withFrozen } from '../../src/filesystem/freeze.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const SIZE_BYTES = 256 * 1024 * 1024;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('a snapshot whose worker is killed', () => {
  let image: string;
  let mountPoint: string;
  scratchPerTest(async (places) => {
    ({ image, mountPoint } = places);
    await newImage(image, { sizeBytes: SIZE_BYTES });
    await mountImage(image, { mountPoint });
  });

  async function killWorker(): Promise<void> {
    const { worker } = (await findAttachment(image)) as Attachment;
    process.kill(worker as number, 'SIGKILL');
    await expect.poll(async () => ({ ...(await findAttachment(image)) })).not.toMatchObject({ worker });
    await expect.poll(async () => ({ ...(await findAttachment(image)) })).toMatchObject({ state: 'running' });
  }

  /** Kills it frozen, before or after the switch; the snapshot may have been taken or not. */
  async function snapshotAndKill(name: string, when: 'before' | 'after'): Promise<void> {
    const frozen = async (_: Attachment, switchOver: () => Promise<void>): Promise<void> => {
      await withFrozen(mountPoint, async () => {
        if (when === 'before') await killWorker();
        await switchOver();
        if (when === 'after') await killWorker();
      });
    };
    await takeSnapshot(image, { name, frozen }).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'DAEMON' });
    });
  }

  it.each(['before', 'after'] as const)('thaws and goes on when it dies %s the switch', async (when) => {
    for (let round = 0; round < 3; round++) {
      await writeFile(join(mountPoint, `f${round}`), `round ${round}`);
      await snapshotAndKill(`s${round}`, when);
      await writeFile(join(mountPoint, `g${round}`), `after ${round}`);
    }
    for (let round = 0; round < 3; round++) {
      expect(await readFile(join(mountPoint, `f${round}`), 'utf8')).toBe(`round ${round}`);
      expect(await readFile(join(mountPoint, `g${round}`), 'utf8')).toBe(`after ${round}`);
    }
    await unmountImage(mountPoint);
    expect(await native.check(image)).toMatchObject({ findings: [] });
    expect((await listSnapshots(image)).map(({ name }) => name)).toEqual(['s0', 's1', 's2']);
  });
});
