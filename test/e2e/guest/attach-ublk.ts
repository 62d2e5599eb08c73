// SPDX-License-Identifier: Apache-2.0
// In the guest: all that users do with an attached image, through ublk. Prints one line of JSON.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';

import { listAttachments } from '../../../src/attach/attachments.js';
import { control } from '../../../src/attach/control.js';
import { attachImage, detachAttachment, recoverAttachment, upgradeAttachment } from '../../../src/attach/ploopd.js';
import { changeSettings } from '../../../src/attach/settings.js';
import { run } from '../../../src/exec/run.js';
import { newImage } from '../../../src/filesystem/image/create.js';
import { mountImage } from '../../../src/filesystem/image/mount.js';
import { resizeImage } from '../../../src/filesystem/image/resize.js';
import { consistentSnapshot } from '../../../src/filesystem/image/snapshot.js';
import { trimFileSystem } from '../../../src/filesystem/trim.js';
import { nativeFile } from '../../../src/native/binding.js';
import { native } from '../../../src/native/index.js';
import { attachment, hostBytes, inflight, kernelSaid } from './attached.js';
import { killWorker, MIB, refusal, sectorsBytes, startFio, until } from './attached.js';
import { beginScript, deviceFacts, IMAGE, killedKeepers, MOUNT_POINT, shownBySnapshot } from './scenes.js';

const step = await beginScript('ublk');

async function look() {
  const isUblk = (await attachment(IMAGE)).device?.startsWith('/dev/ublkb') === true;
  return { ...(await deviceFacts(['logical_block_size', 'discard_granularity', 'fua'])), isUblk };
}

/** The worker is killed while requests are in flight, and replaced by another program's. */
async function deaths() {
  const fio = startFio('/tmp/mnt', { sizeMib: 16 });
  for (let i = 0; i < 4; i++) {
    await until(async () => (await inflight(IMAGE)) > 4);
    await killWorker(IMAGE);
  }
  await until(async () => (await inflight(IMAGE)) > 4);
  await upgradeAttachment(await attachment(IMAGE));
  const { status, errors } = await fio.result;
  const { restarts } = await attachment(IMAGE);
  return { status, errors, restarts, failed: await kernelSaid(/I\/O error|EXT4-fs error/) };
}

/** Bytes of the worker's own memory. */
async function memoryBytes(): Promise<number> {
  const { worker } = await attachment(IMAGE);
  return Number(/^RssAnon:\s*(\d+)/m.exec(await readFile(`/proc/${worker}/status`, 'utf8'))?.[1]) * 1024;
}

/** Large writes, whose space comes back, as does the memory that they took. */
async function giveBack() {
  await run('dd', ['if=/dev/urandom', 'of=/tmp/mnt/large', 'bs=4M', 'count=10', 'oflag=direct', 'conv=fsync']);
  const full = await hostBytes(IMAGE);
  const bounded = (await memoryBytes()) < 40 * MIB;
  await rm('/tmp/mnt/large');
  await trimFileSystem('/tmp/mnt');
  await until(async () => full - (await hostBytes(IMAGE)) > 35 * MIB);
  await until(async () => (await memoryBytes()) < 4 * MIB);
  return { given: true, bounded };
}

/** A snapshot beside its image, and another size where the kernel can. */
async function snapshotAndGrow() {
  await writeFile('/tmp/mnt/f', 'before');
  const { id, frozenMs } = await consistentSnapshot(IMAGE, { name: 'one' });
  await writeFile('/tmp/mnt/f', 'after');
  const { old, readOnly } = await shownBySnapshot(id, 'f');
  const resized = await refusal(resizeImage(IMAGE, { sizeBytes: 192 * MIB }));
  const bytes = [(await native.info(IMAGE, { lock: false })).size, await sectorsBytes((await attachment(IMAGE)).device ?? '')];
  return { frozen: frozenMs !== null, old, readOnly, now: await readFile('/tmp/mnt/f', 'utf8'), resized, bytes };
}

async function limited() {
  await changeSettings(IMAGE, { bps: 64 * 1024 });
  const fio = startFio('/tmp/mnt', { sizeMib: 1, depth: 64 });
  await until(async () => (await control(await attachment(IMAGE), 'stats', {})).waiting > 0);
  await killWorker(IMAGE);
  const { bps } = await attachment(IMAGE);
  await changeSettings(IMAGE, { bps: 0 });
  const { status, errors } = await fio.result;
  return { bps, status, errors };
}

/** Five workers die within ten seconds: requests wait until somebody has a look. */
async function stopped() {
  const seen = new Set<number>();
  await until(async () => {
    const { state, worker } = await attachment(IMAGE);
    if (worker > 0 && !seen.has(worker)) process.kill(worker, 'SIGKILL');
    seen.add(worker);
    return state === 'stopped';
  }, 50);
  const refused = await refusal(detachAttachment(await attachment(IMAGE)));
  await recoverAttachment(await attachment(IMAGE));
  await writeFile('/tmp/mnt/g', 'served', { flush: true });
  return { refused, state: (await attachment(IMAGE)).state };
}

async function keepers() {
  return killedKeepers(async () => undefined);
}

/** Writes wait for room on the host, beyond the worker's life; who has the device open keeps it. */
async function pause() {
  const dir = '/tmp/small/image';
  await mkdir('/tmp/small');
  await run('mount', ['-t', 'tmpfs', '-o', 'size=16M', 'small', '/tmp/small']);
  await native.create(dir, { size: 64 * MIB });
  const { device } = await attachImage(dir, { sectorSizeBytes: 4096 });
  const fio = startFio(device ?? '', { sizeMib: 20 });
  const full = async (): Promise<boolean> => (await control(await attachment(dir), 'stats', {})).full > 0;
  await until(full);
  const refused = await refusal(detachAttachment(await attachment(dir)));
  process.kill((await attachment(dir)).worker, 'SIGKILL');
  await run('mount', ['-o', 'remount,size=96M', '/tmp/small']);
  const { status, errors } = await fio.result;
  const held = await open(device ?? '', 'r');
  const opened = await refusal(detachAttachment(await attachment(dir)));
  await held.close();
  await detachAttachment(await attachment(dir));
  const { findings } = await native.check(dir);
  return { refused, status, errors, opened, findings };
}

/** An attach that is killed at any moment stands in nobody's way. */
async function killedLaunches() {
  for (const ms of [40, 90, 140, 190, 240]) {
    const launcher = spawn(nativeFile('ploopd'), ['attach', IMAGE, '--via', 'ublk'], { stdio: 'ignore' });
    const ended = once(launcher, 'close');
    setTimeout(() => launcher.kill('SIGKILL'), ms);
    await ended;
    await until(async () => (await listAttachments()).every(({ live, state }) => !live || state === 'running'));
    if ((await listAttachments()).some(({ live }) => live)) await detachAttachment(await attachment(IMAGE));
  }
  await detachAttachment(await attachImage(IMAGE));
  return (await readdir('/sys/class/ublk-char')).length;
}

await newImage(IMAGE, { sizeBytes: 96 * MIB, fs: 'ext4' });
step('made');
await mountImage(IMAGE, { mountPoint: MOUNT_POINT });
const facts: Record<string, unknown> = { looked: await look() };
for (const one of [deaths, giveBack, snapshotAndGrow, limited, stopped, keepers, pause, killedLaunches]) {
  step(one.name);
  facts[one.name] = await one();
}
const { findings } = await native.check(IMAGE);
process.stdout.write(`${JSON.stringify({ ...facts, findings })}\n`);
