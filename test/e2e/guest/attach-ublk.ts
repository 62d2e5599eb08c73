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
import { unmountImage } from '../../../src/filesystem/image/unmount.js';
import { trimFileSystem } from '../../../src/filesystem/trim.js';
import { nativeFile } from '../../../src/native/binding.js';
import { native } from '../../../src/native/index.js';
import { attachment, capabilities, hostBytes, inflight, kernelSaid } from './attached.js';
import { killWorker, MIB, queue, refusal, sectorsBytes, startFio, until } from './attached.js';

// The guest's /tmp is in memory, and gone with it.
process.env.PLOOP_RUN_DIR = '/tmp/run';
process.env.PLOOP_VIA = 'ublk';
await mkdir('/tmp/run');
await mkdir('/tmp/mnt');
const image = '/tmp/image';
const began = Date.now();
const step = (name: string): void => void process.stderr.write(`${((Date.now() - began) / 1000).toFixed(1)} s: ${name}\n`);

/** What the device says of itself, and what its processes may do. */
async function look() {
  const { device, via, keeper, worker } = await attachment(image);
  const limits = ['logical_block_size', 'discard_granularity', 'fua'].map(async (name) => [name, await queue(device ?? '', name)] as const);
  return {
    via,
    isUblk: device?.startsWith('/dev/ublkb') === true,
    bytes: await sectorsBytes(device ?? ''),
    ...Object.fromEntries(await Promise.all(limits)),
    keeper: await capabilities(keeper),
    worker: await capabilities(worker),
  };
}

/** The worker is killed while requests are in flight, and replaced by another program's. */
async function deaths() {
  const fio = startFio('/tmp/mnt', { sizeMib: 16 });
  for (let i = 0; i < 4; i++) {
    await until(async () => (await inflight(image)) > 4);
    await killWorker(image);
  }
  await until(async () => (await inflight(image)) > 4);
  await upgradeAttachment(await attachment(image));
  const { status, errors } = await fio.result;
  const { restarts } = await attachment(image);
  return { status, errors, restarts, failed: await kernelSaid(/I\/O error|EXT4-fs error/) };
}

/** Bytes of the worker's own memory. */
async function memoryBytes(): Promise<number> {
  const { worker } = await attachment(image);
  return Number(/^RssAnon:\s*(\d+)/m.exec(await readFile(`/proc/${worker}/status`, 'utf8'))?.[1]) * 1024;
}

/** Large writes, whose space comes back, as does the memory that they took. */
async function giveBack() {
  await run('dd', ['if=/dev/urandom', 'of=/tmp/mnt/large', 'bs=4M', 'count=10', 'oflag=direct', 'conv=fsync']);
  const full = await hostBytes(image);
  const bounded = (await memoryBytes()) < 40 * MIB;
  await rm('/tmp/mnt/large');
  await trimFileSystem('/tmp/mnt');
  await until(async () => full - (await hostBytes(image)) > 35 * MIB);
  await until(async () => (await memoryBytes()) < 4 * MIB);
  return { given: true, bounded };
}

/** A snapshot beside its image, and another size where the kernel can. */
async function snapshotAndGrow() {
  await writeFile('/tmp/mnt/f', 'before');
  const { id, frozenMs } = await consistentSnapshot(image, { name: 'one' });
  await writeFile('/tmp/mnt/f', 'after');
  const shown = await attachImage(image, { snapshot: id });
  const name = (shown.device ?? '').replace('/dev/', '');
  await run('mount', ['-o', 'ro,noload', shown.device ?? '', '/mnt']);
  const old = await readFile('/mnt/f', 'utf8');
  const readOnly = (await readFile(`/sys/block/${name}/ro`, 'utf8')).trim() === '1';
  await run('umount', ['/mnt']);
  await detachAttachment(shown);
  const resized = await refusal(resizeImage(image, { sizeBytes: 192 * MIB }));
  const bytes = [(await native.info(image, { lock: false })).size, await sectorsBytes((await attachment(image)).device ?? '')];
  return { frozen: frozenMs !== null, old, readOnly, now: await readFile('/tmp/mnt/f', 'utf8'), resized, bytes };
}

async function limited() {
  await changeSettings(image, { bps: 64 * 1024 });
  const fio = startFio('/tmp/mnt', { sizeMib: 1, depth: 64 });
  await until(async () => (await control(await attachment(image), 'stats', {})).waiting > 0);
  await killWorker(image);
  const { bps } = await attachment(image);
  await changeSettings(image, { bps: 0 });
  const { status, errors } = await fio.result;
  return { bps, status, errors };
}

/** Five workers die within ten seconds: requests wait until somebody has a look. */
async function stopped() {
  const seen = new Set<number>();
  await until(async () => {
    const { state, worker } = await attachment(image);
    if (worker > 0 && !seen.has(worker)) process.kill(worker, 'SIGKILL');
    seen.add(worker);
    return state === 'stopped';
  }, 50);
  const refused = await refusal(detachAttachment(await attachment(image)));
  await recoverAttachment(await attachment(image));
  await writeFile('/tmp/mnt/g', 'served', { flush: true });
  return { refused, state: (await attachment(image)).state };
}

/** The keeper is killed and replaced; then both are, under the mounted file system. */
async function keepers() {
  process.kill((await attachment(image)).keeper, 'SIGKILL');
  await until(async () => (await attachment(image)).state === 'orphan');
  await recoverAttachment(await attachment(image));
  const recovered = (await attachment(image)).state;
  await killWorker(image);
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
    const launcher = spawn(nativeFile('ploopd'), ['attach', image, '--via', 'ublk'], { stdio: 'ignore' });
    const ended = once(launcher, 'close');
    setTimeout(() => launcher.kill('SIGKILL'), ms);
    await ended;
    await until(async () => (await listAttachments()).every(({ live, state }) => !live || state === 'running'));
    if ((await listAttachments()).some(({ live }) => live)) await detachAttachment(await attachment(image));
  }
  await detachAttachment(await attachImage(image));
  return (await readdir('/sys/class/ublk-char')).length;
}

await newImage(image, { sizeBytes: 96 * MIB, fs: 'ext4' });
step('made');
await mountImage(image, { mountPoint: '/tmp/mnt' });
const facts: Record<string, unknown> = { looked: await look() };
for (const one of [deaths, giveBack, snapshotAndGrow, limited, stopped, keepers, pause, killedLaunches]) {
  step(one.name);
  facts[one.name] = await one();
}
const { findings } = await native.check(image);
process.stdout.write(`${JSON.stringify({ ...facts, findings })}\n`);
