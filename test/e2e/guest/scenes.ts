// SPDX-License-Identifier: Apache-2.0
// In the guest: what is done with an attached image whichever way its device is made, for attach-nbd.ts and attach-ublk.ts.
import { mkdir, readFile } from 'node:fs/promises';

import { listAttachments } from '../../../src/attach/attachments.js';
import { attachImage, detachAttachment, recoverAttachment } from '../../../src/attach/ploopd.js';
import { run } from '../../../src/exec/run.js';
import { mountImage } from '../../../src/filesystem/image/mount.js';
import { unmountImage } from '../../../src/filesystem/image/unmount.js';
import { attachment, capabilities, killWorker, queue, refusal, sectorsBytes, until } from './attached.js';

export const IMAGE = '/tmp/image';
export const MOUNT_POINT = '/tmp/mnt';

/** The guest's /tmp is in memory, and gone with it. Answers what tells people how far the script is. */
export async function beginScript(via: string): Promise<(name: string) => void> {
  process.env.PLOOP_RUN_DIR = '/tmp/run';
  process.env.PLOOP_VIA = via;
  await mkdir('/tmp/run');
  await mkdir(MOUNT_POINT);
  const began = Date.now();
  return (name) => void process.stderr.write(`${((Date.now() - began) / 1000).toFixed(1)} s: ${name}\n`);
}

/** What the device says of itself, among it these numbers of its queue, and what its processes may do. */
export async function deviceFacts(names: readonly string[]) {
  const { device, via, keeper, worker } = await attachment(IMAGE);
  const numbers = names.map(async (name) => [name, await queue(device ?? '', name)] as const);
  return {
    via,
    bytes: await sectorsBytes(device ?? ''),
    ...Object.fromEntries(await Promise.all(numbers)),
    keeper: await capabilities(keeper),
    worker: await capabilities(worker),
  };
}

/** The file as the snapshot has it, shown beside the image. */
export async function shownBySnapshot(id: string, file: string): Promise<{ old: string; readOnly: boolean }> {
  const shown = await attachImage(IMAGE, { snapshot: id });
  await run('mount', ['-o', 'ro,noload', shown.device ?? '', '/mnt']);
  const old = await readFile(`/mnt/${file}`, 'utf8');
  const readOnly = (await readFile(`/sys/block/${(shown.device ?? '').replace('/dev/', '')}/ro`, 'utf8')).trim() === '1';
  await run('umount', ['/mnt']);
  await detachAttachment(shown);
  return { old, readOnly };
}

/** The keeper is killed and replaced; then, after `write`, both are, under the mounted file system, whose file g is flushed by then. */
export async function killedKeepers(write: () => Promise<void>) {
  process.kill((await attachment(IMAGE)).keeper, 'SIGKILL');
  await until(async () => (await attachment(IMAGE)).state === 'orphan');
  await recoverAttachment(await attachment(IMAGE));
  const recovered = (await attachment(IMAGE)).state;
  await killWorker(IMAGE);
  await write();
  const mounted = await refusal(detachAttachment(await attachment(IMAGE)));
  const last = await attachment(IMAGE);
  process.kill(last.keeper, 'SIGKILL');
  process.kill(last.worker, 'SIGKILL');
  await until(async () => !(await attachment(IMAGE)).live);
  await unmountImage(IMAGE);
  const left = (await listAttachments()).length;
  await mountImage(IMAGE, { mountPoint: MOUNT_POINT });
  const content = await readFile(`${MOUNT_POINT}/g`, 'utf8');
  await unmountImage(IMAGE);
  return { recovered, mounted, left, content };
}
