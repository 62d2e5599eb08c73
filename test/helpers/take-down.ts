// SPDX-License-Identifier: Apache-2.0
// The end of a test: whatever state it has left, nothing of it may outlive it. A device that nobody serves would make others wait
// who only look at block devices, and a directory below which something is mounted must not be removed.
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';

import { type Attachment, listAttachments } from '../../src/attach/attachments.js';
import { connectControl } from '../../src/attach/connect.js';
import { mountPointsOf, readMounts } from '../../src/attach/mounts.js';
import { usersOfMountPoint } from '../../src/attach/users.js';
import { run } from '../../src/exec/run.js';
import { detachDevice, endDead } from '../../src/filesystem/image/detach.js';
import { endPloopd } from './end-ploopd.js';

const ATTACHMENT = /^[0-9a-f-]{36}(@[0-9a-f-]{36})?$/;

/** Everything is tried, whatever fails. Answers what could not be taken down; with [] the directory can be removed. */
export async function takeDown(places: { runDir: string; directory: string }): Promise<unknown[]> {
  const failures: unknown[] = [];
  const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => failures.push(error));
  // A state.json that can not be read hides them all; then there are still mounts and folders.
  const known = await listAttachments(places).catch(() => []);
  for (const one of known) await attempt(undo(one, places.runDir).catch(() => undoByForce(one, places.runDir)));
  await attempt(unmount((await readMounts()).map((mount) => mount.mountPoint).filter((path) => isBelow(path, places.directory))));
  for (const attachment of (await readdir(places.runDir).catch(() => [])).filter((name) => ATTACHMENT.test(name)))
    await attempt(detachDevice({ attachment, device: null, devno: null }, places));
  for (const device of await loopDevicesOf(places.directory)) await attempt(run('losetup', ['--detach', device]));
  return failures;
}

/** For the end of a clean-up, where everything else has been done. */
export function throwAll(what: string, failures: readonly unknown[]): void {
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, `${what}: ${failures.map(String).join('; ')}`);
}

async function undo(one: Attachment, runDir: string): Promise<void> {
  if (one.live) await failWaitingWrites(one).catch(() => undefined);
  await endDead(one, { runDir });
  if (one.devno !== null) await unmount(await mountPointsOf(one.devno));
  await detachDevice(one, { runDir });
}

/** Nothing that waits for the daemon keeps it then. */
async function undoByForce(one: Attachment, runDir: string): Promise<void> {
  await endPloopd(one.keeper, one.worker);
  await undo({ ...one, live: false }, runDir);
}

/** Writes that wait for room on a full host would make umount wait, too. */
async function failWaitingWrites(one: Attachment): Promise<void> {
  const socket = await connectControl(one);
  socket.write('{"id":1,"op":"set","onFull":"error"}\n');
  await once(socket, 'data', { signal: AbortSignal.timeout(5000) }).finally(() => socket.destroy());
}

/** Ends who is in there: nobody but the test's own processes could be. */
async function unmount(mountPoints: readonly string[]): Promise<void> {
  for (const mountPoint of mountPoints.toReversed()) {
    const { exitCode } = await run('umount', [mountPoint], { accept: 'any' });
    if (exitCode === 0) continue;
    for (const { pid } of await usersOfMountPoint(mountPoint)) endProcess(pid);
    await run('umount', ['--lazy', mountPoint]);
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

async function loopDevicesOf(directory: string): Promise<string[]> {
  const names = (await readdir('/sys/block').catch(() => [])).filter((name) => /^loop\d+$/.test(name));
  const found: string[] = [];
  for (const name of names) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (isBelow(file.trim(), directory)) found.push(`/dev/${name}`);
  }
  return found;
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(`${directory}/`);
}
