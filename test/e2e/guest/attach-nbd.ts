// SPDX-License-Identifier: Apache-2.0
// In the guest: all that users do with an attached image, through the kernel's NBD client. Prints one line of JSON.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';

import { listAttachments } from '../../../src/attach/attachments.js';
import { control } from '../../../src/attach/control.js';
import { attachImage, detachAttachment, recoverAttachment, upgradeAttachment } from '../../../src/attach/ploopd.js';
import { changeSettings } from '../../../src/attach/settings.js';
import { run } from '../../../src/exec/run.js';
import { newImage } from '../../../src/filesystem/image/create.js';
import { mountImage } from '../../../src/filesystem/image/mount.js';
import { resizeImage } from '../../../src/filesystem/image/resize.js';
import { consistentSnapshot } from '../../../src/filesystem/image/snapshot.js';
import { unmountImage } from '../../../src/filesystem/image/unmount.js';
import { trimFileSystem } from '../../../src/filesystem/trim.js';
import { native } from '../../../src/native/index.js';
import {
  attachment,
  capabilities,
  hostBytes,
  inflight,
  kernelSaid,
  killWorker,
  MIB,
  queue,
  refusal,
  sectorsBytes,
  startFio,
  until,
} from './attached.js';

// The guest's /tmp is in memory, and gone with it.
process.env.PLOOP_RUN_DIR = '/tmp/run';
process.env.PLOOP_VIA = 'nbd';
await mkdir('/tmp/run');
await mkdir('/tmp/mnt');
const image = '/tmp/image';
const began = Date.now();
const step = (name: string): void => void process.stderr.write(`${((Date.now() - began) / 1000).toFixed(1)} s: ${name}\n`);

/** What the device says of itself, and what its processes may do. */
async function look() {
  const { device, via, keeper, worker } = await attachment(image);
  const numbers = ['logical_block_size', 'fua', 'io_timeout'].map(async (name) => [name, await queue(device ?? '', name)] as const);
  return {
    via,
    isNbd: device?.startsWith('/dev/nbd') === true,
    bytes: await sectorsBytes(device ?? ''),
    ...Object.fromEntries(await Promise.all(numbers)),
    discards: (await queue(device ?? '', 'discard_max_bytes')) > 0,
    zeroes: (await queue(device ?? '', 'write_zeroes_max_bytes')) > 0,
    keeper: await capabilities(keeper),
    worker: await capabilities(worker),
  };
}

/** The worker is killed while requests are in flight, and replaced by another program's. */
async function deaths() {
  const fio = startFio('/tmp/mnt', { sizeMib: 8 });
  let underLoad = 0;
  const loaded = async (): Promise<void> => {
    await until(async () => fio.child.exitCode !== null || (await inflight(image)) > 4);
    underLoad += fio.child.exitCode === null ? 1 : 0;
  };
  for (let i = 0; i < 2; i++) {
    await loaded();
    await killWorker(image);
  }
  await until(async () => (await kernelSaid(/Possible stuck request/)) > 0);
  await loaded();
  const before = await kernelSaid(/reconnected socket/);
  await upgradeAttachment(await attachment(image));
  const renewedByUpgrade = (await kernelSaid(/reconnected socket/)) - before;
  const { status, errors, slowestMs } = await fio.result;
  step(`the slowest request took ${slowestMs} ms`);
  const { restarts } = await attachment(image);
  // The kernel may take the new connection for the dead one, just then: one more death, and nothing lost.
  return { underLoad, status, errors, restarted: restarts >= 2, renewedByUpgrade, failed: await kernelSaid(/I\/O error|EXT4-fs error/) };
}

async function snapshotAndGrow() {
  await writeFile('/tmp/mnt/f', 'before');
  const { id } = await consistentSnapshot(image, { name: 'one' });
  await writeFile('/tmp/mnt/f', 'after');
  const { sizeBytes, grown } = await resizeImage(image, { sizeBytes: 192 * MIB });
  const { device } = await attachment(image);
  const shown = await attachImage(image, { snapshot: id });
  await run('mount', ['-o', 'ro,noload', shown.device ?? '', '/mnt']);
  const old = await readFile('/mnt/f', 'utf8');
  const readOnly = (await readFile(`/sys/block/${(shown.device ?? '').replace('/dev/', '')}/ro`, 'utf8')).trim() === '1';
  await run('umount', ['/mnt']);
  await detachAttachment(shown);
  return { sizeBytes, grown, shows: await sectorsBytes(device ?? ''), old, readOnly, now: await readFile('/tmp/mnt/f', 'utf8') };
}

async function giveBack() {
  await run('dd', ['if=/dev/urandom', 'of=/tmp/mnt/large', 'bs=1M', 'count=24', 'conv=fsync']);
  const full = await hostBytes(image);
  await rm('/tmp/mnt/large');
  await trimFileSystem('/tmp/mnt');
  await run('sync', ['-f', '/tmp/mnt']);
  await until(async () => full - (await hostBytes(image)) > 20 * MIB);
  return { mebibytes: Math.floor((full - (await hostBytes(image))) / MIB) >= 20 };
}

/** While a limit holds requests back longer than the kernel's timer (512 KiB at 64 KiB a second), none is repeated or lost. */
async function limits() {
  const before = await kernelSaid(/reconnected socket/);
  const stuck = await kernelSaid(/Possible stuck request/);
  await changeSettings(image, { bps: 64 * 1024 });
  const fio = startFio('/tmp/mnt', { sizeMib: 1, depth: 128 });
  await until(async () => (await kernelSaid(/Possible stuck request/)) > stuck);
  const { bps, device } = await attachment(image);
  const timers = [await queue(device ?? '', 'io_timeout')];
  await changeSettings(image, { bps: 0 });
  timers.push(await queue(device ?? '', 'io_timeout'));
  const { status, errors } = await fio.result;
  return { bps, timers, status, errors, renewed: (await kernelSaid(/reconnected socket/)) - before };
}

/** The keeper is killed and replaced; then both are, under the mounted file system. */
async function keepers() {
  const { keeper } = await attachment(image);
  process.kill(keeper, 'SIGKILL');
  await until(async () => (await attachment(image)).state === 'orphan');
  await recoverAttachment(await attachment(image));
  const recovered = (await attachment(image)).state;
  await killWorker(image);
  await writeFile('/tmp/mnt/g', 'served', { flush: true });
  await writeFile('/tmp/mnt/f', 'not flushed');
  const mounted = await refusal(detachAttachment(await attachment(image)));
  const last = await attachment(image);
  process.kill(last.keeper, 'SIGKILL');
  process.kill(last.worker, 'SIGKILL');
  await until(async () => !(await attachment(image)).live);
  await unmountImage(image);
  const left = (await listAttachments()).length;
  await mountImage(image, { mountPoint: '/tmp/mnt' });
  const content = await readFile('/tmp/mnt/g', 'utf8');
  await unmountImage(image);
  return { recovered, mounted, left, content };
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
  const { device, folder } = await attachImage(image).then(() => attachment(image));
  await run('nbd-client', ['-d', device ?? '']);
  await until(async () => (await listAttachments()).length === 0);
  return { folder: await readFile(folder).then(String, (error: NodeJS.ErrnoException) => error.code) };
}

await newImage(image, { sizeBytes: 96 * MIB, fs: 'ext4' });
step('made');
await mountImage(image, { mountPoint: '/tmp/mnt' });
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
const { findings } = await native.check(image);
process.stdout.write(`${JSON.stringify({ looked, died, grown, given, limited, kept, paused, taken, findings })}\n`);
