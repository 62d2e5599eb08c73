// SPDX-License-Identifier: Apache-2.0
// In the guest: all that users do with an attached image, through the kernel's NBD client. Prints one line of JSON.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';

import { listAttachments } from '../../../src/attach/attachments.js';
import { control } from '../../../src/attach/control.js';
import { attachImage, detachAttachment, upgradeAttachment } from '../../../src/attach/ploopd.js';
import { changeSettings } from '../../../src/attach/settings.js';
import { run } from '../../../src/exec/run.js';
import { newImage } from '../../../src/filesystem/image/create.js';
import { mountImage } from '../../../src/filesystem/image/mount.js';
import { resizeImage } from '../../../src/filesystem/image/resize.js';
import { consistentSnapshot } from '../../../src/filesystem/image/snapshot.js';
import { trimFileSystem } from '../../../src/filesystem/trim.js';
import { native } from '../../../src/native/index.js';
import { attachment, hostBytes, inflight, kernelSaid, killWorker, MIB, queue, refusal, sectorsBytes, startFio, until } from './attached.js';
import { beginScript, deviceFacts, IMAGE, killedKeepers, MOUNT_POINT, shownBySnapshot } from './scenes.js';

const step = await beginScript('nbd');

async function look() {
  const device = (await attachment(IMAGE)).device ?? '';
  return {
    ...(await deviceFacts(['logical_block_size', 'fua', 'io_timeout'])),
    isNbd: device.startsWith('/dev/nbd'),
    discards: (await queue(device, 'discard_max_bytes')) > 0,
    zeroes: (await queue(device, 'write_zeroes_max_bytes')) > 0,
  };
}

/** The worker is killed while requests are in flight, and replaced by another program's. */
async function deaths() {
  const fio = startFio('/tmp/mnt', { sizeMib: 16 });
  let underLoad = 0;
  const loaded = async (): Promise<void> => {
    await until(async () => fio.child.exitCode !== null || (await inflight(IMAGE)) > 4);
    underLoad += fio.child.exitCode === null ? 1 : 0;
  };
  for (let i = 0; i < 2; i++) {
    await loaded();
    await killWorker(IMAGE);
  }
  await until(async () => (await kernelSaid(/Possible stuck request/)) > 0);
  await loaded();
  const before = await kernelSaid(/reconnected socket/);
  await upgradeAttachment(await attachment(IMAGE));
  const renewedByUpgrade = (await kernelSaid(/reconnected socket/)) - before;
  const { status, errors, slowestMs } = await fio.result;
  step(`the slowest request took ${slowestMs} ms`);
  const { restarts } = await attachment(IMAGE);
  return { underLoad, status, errors, restarts, renewedByUpgrade, failed: await kernelSaid(/I\/O error|EXT4-fs error/) };
}

async function snapshotAndGrow() {
  await writeFile('/tmp/mnt/f', 'before');
  const { id } = await consistentSnapshot(IMAGE, { name: 'one' });
  await writeFile('/tmp/mnt/f', 'after');
  const { sizeBytes, grown } = await resizeImage(IMAGE, { sizeBytes: 192 * MIB });
  const { device } = await attachment(IMAGE);
  const { old, readOnly } = await shownBySnapshot(id, 'f');
  return { sizeBytes, grown, shows: await sectorsBytes(device ?? ''), old, readOnly, now: await readFile('/tmp/mnt/f', 'utf8') };
}

async function giveBack() {
  await run('dd', ['if=/dev/urandom', 'of=/tmp/mnt/large', 'bs=1M', 'count=24', 'conv=fsync']);
  const full = await hostBytes(IMAGE);
  await rm('/tmp/mnt/large');
  await trimFileSystem('/tmp/mnt');
  await run('sync', ['-f', '/tmp/mnt']);
  await until(async () => full - (await hostBytes(IMAGE)) > 20 * MIB);
  return { mebibytes: Math.floor((full - (await hostBytes(IMAGE))) / MIB) >= 20 };
}

/** While a limit holds requests back longer than the kernel's timer (512 KiB at 64 KiB a second), none is repeated or lost. */
async function limits() {
  const before = await kernelSaid(/reconnected socket/);
  const stuck = await kernelSaid(/Possible stuck request/);
  await changeSettings(IMAGE, { bps: 64 * 1024 });
  const fio = startFio('/tmp/mnt', { sizeMib: 1, depth: 128 });
  await until(async () => (await kernelSaid(/Possible stuck request/)) > stuck);
  const { bps, device } = await attachment(IMAGE);
  const timers = [await queue(device ?? '', 'io_timeout')];
  await changeSettings(IMAGE, { bps: 0 });
  timers.push(await queue(device ?? '', 'io_timeout'));
  const { status, errors } = await fio.result;
  return { bps, timers, status, errors, renewed: (await kernelSaid(/reconnected socket/)) - before };
}

async function keepers() {
  return killedKeepers(async () => {
    await writeFile('/tmp/mnt/g', 'served', { flush: true });
    await writeFile('/tmp/mnt/f', 'not flushed');
  });
}

/** Writes wait for longer than the kernel's timer until the host has room again. */
async function pause() {
  const dir = '/tmp/small/image';
  await mkdir('/tmp/small');
  await run('mount', ['-t', 'tmpfs', '-o', 'size=24M', 'small', '/tmp/small']);
  await native.create(dir, { size: 64 * MIB });
  const { device } = await attachImage(dir);
  const before = await kernelSaid(/reconnected socket/);
  const stuck = await kernelSaid(/Possible stuck request/);
  const fio = startFio(device ?? '', { sizeMib: 32, kib: 64 });
  await until(async () => (await control(await attachment(dir), 'stats', {})).full > 0);
  await until(async () => (await kernelSaid(/Possible stuck request/)) > stuck);
  const refused = await refusal(detachAttachment(await attachment(dir)));
  await run('mount', ['-o', 'remount,size=96M', '/tmp/small']);
  const { status, errors } = await fio.result;
  const renewed = (await kernelSaid(/reconnected socket/)) - before;
  await detachAttachment(await attachment(dir));
  const { findings } = await native.check(dir);
  return { refused, status, errors, renewed, findings };
}

/** nbd-client -d takes the device away from under us: the image is closed and everything ends. */
async function takenAway() {
  const { device, folder } = await attachImage(IMAGE).then(() => attachment(IMAGE));
  await run('nbd-client', ['-d', device ?? '']);
  await until(async () => (await listAttachments()).length === 0);
  return { folder: await readFile(folder).then(String, (error: NodeJS.ErrnoException) => error.code) };
}

await newImage(IMAGE, { sizeBytes: 96 * MIB, fs: 'ext4' });
step('made');
await mountImage(IMAGE, { mountPoint: MOUNT_POINT });
const looked = await look();
step('mounted');
const died = await deaths();
step('killed and upgraded');
const grown = await snapshotAndGrow();
step('snapshot, grown');
const given = await giveBack();
step('trimmed');
const limited = await limits();
step('limited');
const kept = await keepers();
step('keepers');
const paused = await pause();
step('paused');
const taken = await takenAway();
step('taken away');
const { findings } = await native.check(IMAGE);
process.stdout.write(`${JSON.stringify({ looked, died, grown, given, limited, kept, paused, taken, findings })}\n`);
