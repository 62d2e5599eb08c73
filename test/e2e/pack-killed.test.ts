// SPDX-License-Identifier: Apache-2.0
// Packing that is killed, again and again, and the worker underneath as well, while a database commits: nothing is lost.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { findAttachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import { attachImage, detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { newImage } from '../../src/filesystem/image/create.js';
import { mountImage } from '../../src/filesystem/image/mount.js';
import { unmountImage } from '../../src/filesystem/image/unmount.js';
import { packFileSystem } from '../../src/filesystem/pack.js';
import { nativeFile } from '../../src/native/binding.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { ageFileSystem, fingerprints } from './aging.js';
import { checkRows, startCommitter } from './committer.js';
import { killWorkerOf } from './device.js';

const MIB = 2 ** 20;
/** Every sixth ends the worker, too; so at most 24: the fifth death within ten seconds would make the keeper give up. */
const KILLS = Number(process.env.PLOOP_PACK_KILLS ?? 6);
const UNIT_BYTES = 4 * MIB;
/** On a busy machine; 40 s on an idle one. */
const TIMEOUT_MS = 400_000;

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'sqlite3'))('packing that is killed', () => {
  let mountPoint: string;
  let image: string;
  const scratch = scratchPerTest((places) => void ({ image, mountPoint } = places));

  it(
    `loses nothing when it is killed ${KILLS} times, every sixth time together with the worker`,
    async () => {
      await newImage(image, { sizeBytes: 320 * MIB, blockSizeBytes: 65_536 });
      await mountImage(image, { mountPoint });
      const files = await ageFileSystem(mountPoint, { seed: 11, generations: 3, fullPercent: 75, finalPercent: 45 });
      const before = fingerprints(files);
      const database = join(mountPoint, 'rows.db');
      const committer = startCommitter(database);
      const { before: planned } = await packFileSystem(mountPoint, { unitBytes: UNIT_BYTES, estimateOnly: true });
      let moved = 0;
      try {
        for (let kill = 0; kill < KILLS; kill++) moved += await packAndKill(kill);
        await expect.poll(() => committer.acknowledged, { timeout: 30_000 }).toBeGreaterThan(10);
      } finally {
        await committer.kill();
      }
      process.stderr.write(`${planned.moveBytes} bytes to move, ${moved} before the kills; ${committer.acknowledged} commits\n`);
      expect(moved).toBeGreaterThan(0);
      expect(committer.complaints).toBe('');
      // From the disk, not from memory.
      await unmountImage(image);
      const { device } = await attachImage(image);
      await run('e2fsck', ['-fn', device ?? '']);
      await run('mount', [device ?? '', mountPoint]);
      expect(fingerprints(files)).toEqual(before);
      expect(await checkRows(database, committer.acknowledged)).toBe('ok');
      // And what was left undone can be done.
      const { stopped } = await packFileSystem(mountPoint, { unitBytes: UNIT_BYTES });
      expect(stopped).toBe('done');
      expect(fingerprints(files)).toEqual(before);
    },
    TIMEOUT_MS,
  );

  it(
    'leaves a sound file system behind at whatever moment the power fails',
    async () => {
      await newImage(image, { sizeBytes: 192 * MIB });
      await mountImage(image, { mountPoint });
      const files = await ageFileSystem(mountPoint, { seed: 5, generations: 2, fullPercent: 75, finalPercent: 40 });
      const before = fingerprints(files);
      const attachment = await findAttachment(image);
      if (attachment === null) throw new Error('not attached');
      const packing = packFileSystem(mountPoint, { unitBytes: UNIT_BYTES, rateBytesPerSecond: 8 * MIB });
      const moments: string[] = [];
      // Snapshots of the device as it is, with nothing frozen: what a power failure would leave.
      for (let moment = 0; moment < 4; moment++) {
        await sleep(250);
        moments.push((await control(attachment, 'snapshot', {})).id);
      }
      expect((await packing).movedBytes).toBeGreaterThan(MIB);
      await unmountImage(image);
      for (const snapshot of moments) {
        const attached = await attachImage(image, { snapshot, readOnly: true });
        const disk = scratch.path('disk.raw');
        await run('dd', [`if=${attached.device}`, `of=${disk}`, 'bs=1M', 'conv=sparse', 'status=none']);
        await detachAttachment(attached);
        await run('mount', ['-o', 'loop', disk, mountPoint]);
        try {
          expect(fingerprints(files)).toEqual(before);
        } finally {
          await run('umount', [mountPoint]);
        }
        await run('e2fsck', ['-fn', disk]);
      }
    },
    TIMEOUT_MS,
  );

  /** Kills somewhat later in each turn, from its first sign of life, or from the first move on. Answers the bytes it said were moved. */
  async function packAndKill(turn: number): Promise<number> {
    // Slow enough to be met in the middle.
    const packer = spawn(nativeFile('ploop-pack'), ['--unit', String(UNIT_BYTES), '--rate', String(16 * MIB), mountPoint]);
    const ended = once(packer, 'close');
    let moved = 0;
    let begun = false;
    packer.stdout.on('data', (lines: Buffer) => {
      begun = true;
      moved = Number([...lines.toString().matchAll(/"progress","movedBytes":(\d+)/g)].at(-1)?.[1] ?? moved);
    });
    await expect.poll(() => packer.exitCode !== null || (turn % 2 === 0 ? begun : moved > 0), { timeout: 30_000, interval: 5 }).toBe(true);
    await sleep(60 * turn);
    if (turn % 6 === 5) await killWorkerOf(image);
    packer.kill('SIGKILL');
    await ended;
    return moved;
  }
});
