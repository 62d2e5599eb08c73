// SPDX-License-Identifier: Apache-2.0
// In the guest: images attached through ublk, and everything that is done with one. Prints one line of JSON.
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment, type Attachment } from '../../../src/attach/attachments.js';
import { control } from '../../../src/attach/control.js';
import { attachImage, detachAttachment, recoverAttachment, upgradeAttachment } from '../../../src/attach/ploopd.js';
import { changeSettings } from '../../../src/attach/settings.js';
import { PloopError } from '../../../src/errors.js';
import { run } from '../../../src/exec/run.js';
import { consistentSnapshot } from '../../../src/filesystem/image/snapshot.js';
import { resizeImage } from '../../../src/filesystem/image/resize.js';
import { trimFileSystem } from '../../../src/filesystem/trim.js';
import { native } from '../../../src/native/index.js';

const MIB = 1024 * 1024;
const IMAGE = '/tmp/image';
const MOUNT = '/tmp/mnt';

// The guest's /tmp is in memory, and gone with it.
process.env.PLOOP_RUN_DIR = '/tmp/run';
await mkdir('/tmp/run');
await mkdir(MOUNT);

const started = Date.now();
function progress(what: string): void {
  process.stderr.write(`${Math.round((Date.now() - started) / 1000)} s: ${what}\n`);
}

async function now(dir = IMAGE): Promise<Attachment> {
  const one = await findAttachment(dir);
  if (one === null) throw new Error(`${dir} is not attached`);
  return one;
}

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (await done()) return;
    await sleep(20);
  }
  throw new Error(`in vain: ${what}; ${JSON.stringify(await findAttachment(IMAGE))}`);
}

/** The code of the PloopError that the work ends with. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'none',
    (error: unknown) => (error instanceof PloopError ? error.code : String(error)),
  );
}

async function hostBytes(dir = IMAGE): Promise<number> {
  const { layers } = await native.info(dir, { usage: true, lock: false });
  const sizes = await Promise.all(layers.map(async ({ id }) => (await stat(`${dir}/layers/${id}.plp`)).blocks * 512));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function killWorker(): Promise<void> {
  const before = await now();
  process.kill(before.worker, 'SIGKILL');
  await until('a new worker', async () => {
    const { state, restarts } = await now();
    return state === 'running' && restarts > before.restarts;
  });
}

async function attach(dir = IMAGE): Promise<string> {
  const { device } = await attachImage(dir, { via: 'ublk', sectorSizeBytes: 4096 });
  if (device === null) throw new Error('no device');
  return device;
}

async function look(device: string): Promise<Record<string, unknown>> {
  const name = device.slice('/dev/'.length);
  const queue = async (file: string): Promise<number> => Number(await readFile(`/sys/block/${name}/queue/${file}`, 'utf8'));
  const caps = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile(`/proc/${(await now()).worker}/status`, 'utf8'))?.[1] ?? '';
  return {
    bytes: Number(await readFile(`/sys/block/${name}/size`, 'utf8')) * 512,
    sector: await queue('logical_block_size'),
    granularity: await queue('discard_granularity'),
    fua: (await queue('fua')) === 1,
    via: (await now()).via,
    capabilities: Number.parseInt(caps, 16).toString(16),
  };
}

/** Verified writes on the mounted file system while the worker is killed and replaced; the errors that fio saw. */
async function torment(kills: number): Promise<Record<string, unknown>> {
  const fio = ['--name=v', `--directory=${MOUNT}`, '--size=24M', '--rw=randwrite', '--bs=4k', '--ioengine=libaio', '--iodepth=16'];
  const verify = ['--direct=1', '--verify=crc32c', '--verify_fatal=1', '--verify_backlog=256', '--time_based', '--runtime=9'];
  const writing = run('fio', [...fio, ...verify, '--output-format=json'], { accept: 'any' });
  for (let i = 0; i < kills; i++) {
    await sleep(500);
    await killWorker();
  }
  const { version } = await upgradeAttachment(await now());
  const { exitCode, stdout } = await writing;
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { error: number }[] };
  const { restarts, state } = await now();
  return { exitCode, errors: jobs.map(({ error }) => error), restarts, state, upgraded: version !== '' };
}

/** Files come and go; what the host holds has to follow. */
async function giveBack(): Promise<{ filled: boolean; given: boolean }> {
  await run('dd', ['if=/dev/urandom', `of=${MOUNT}/big`, 'bs=1M', 'count=48', 'oflag=direct', 'status=none']);
  const full = await hostBytes();
  await rm(`${MOUNT}/big`);
  await trimFileSystem(MOUNT);
  const empty = await hostBytes();
  return { filled: full > 48 * MIB, given: full - empty > 40 * MIB };
}

/** The host gets full under a write, the worker dies meanwhile, and with some room all goes on. */
async function fullHost(): Promise<Record<string, unknown>> {
  await mkdir('/tmp/small');
  await run('mount', ['-t', 'tmpfs', '-o', 'size=24M', 'small', '/tmp/small']);
  const dir = '/tmp/small/image';
  await native.create(dir, { size: 256 * MIB });
  const device = await attach(dir);
  await run('fallocate', ['-l', '12M', '/tmp/small/filler']);
  const writing = run('dd', ['if=/dev/zero', `of=${device}`, 'bs=64k', 'count=256', 'oflag=direct', 'conv=fsync', 'status=none'], {
    accept: 'any',
  });
  await until('a full host', async () => (await control(await now(dir), 'stats', {})).full > 0);
  const refused = await refusal(detachAttachment(await now(dir)));
  await rm('/tmp/small/filler');
  const { exitCode } = await writing;
  await detachAttachment(await now(dir));
  return { refused, exitCode };
}

progress('up');
await native.create(IMAGE, { size: 256 * MIB });
let device = await attach();
const seen = await look(device);
await run('mkfs.ext4', ['-q', device]);
await run('mount', [device, MOUNT]);
await writeFile(`${MOUNT}/f`, 'kept');
progress('mounted');
const snapshot = await consistentSnapshot(IMAGE);
const tormented = await torment(4);
progress('tormented');
const space = await giveBack();
progress('given back');

const limits = await changeSettings(IMAGE, { iops: 50 });
await run('dd', ['if=/dev/zero', `of=${MOUNT}/slow`, 'bs=4k', 'count=100', 'oflag=direct', 'status=none']);
const { waiting, iops } = await control(await now(), 'stats', {});
await changeSettings(IMAGE, { iops: 0 });
const resized = await refusal(resizeImage(IMAGE, { sizeBytes: 512 * MIB }));
const sizeBytes = (await native.info(IMAGE, { lock: false })).size;
const mounted = await refusal(detachAttachment(await now()));
progress('limits, size, mounted');

// A keeper that was killed alone, then the worker that has a new one.
process.kill((await now()).keeper, 'SIGKILL');
await until('an orphan', async () => (await now()).state === 'orphan');
await recoverAttachment(await now());
await killWorker();
await run('umount', [MOUNT]);
const held = await open(device, 'r');
const opened = await refusal(detachAttachment(await now()));
await held.close();
await detachAttachment(await now());
const left = existsSync(device);
progress('detached');

// Keeper and worker die under a mounted file system: requests wait for nobody, until a detach ends them.
device = await attach();
await run('mount', [device, MOUNT]);
const { keeper, worker } = await now();
process.kill(keeper, 'SIGKILL');
process.kill(worker, 'SIGKILL');
await until('death', async () => (await now()).state === 'dead');
const dead = await refusal(detachAttachment(await now()));
await run('umount', [MOUNT]);
device = await attach();
await run('fsck.ext4', ['-fp', device], { accept: [0, 1] });
await run('mount', [device, MOUNT]);
const content = await readFile(`${MOUNT}/f`, 'utf8');
await run('umount', [MOUNT]);
await detachAttachment(await now());
progress('died and came back');

const full = await fullHost();
progress('full');
const { findings } = await native.check(IMAGE);
const facts = { seen, frozen: snapshot.frozenMs !== null, tormented, space, limits: limits.iops, iops, waiting, resized, sizeBytes };
process.stdout.write(`${JSON.stringify({ ...facts, mounted, opened, left, dead, content, full, findings })}\n`);
