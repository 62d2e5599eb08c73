// SPDX-License-Identifier: Apache-2.0
// Kills in the middle of operations: snapshot, resize and compact of an attached image lose their worker, snapshot-delete
// loses its own process. Each time the image is checked, its content compared, and the operation done again.
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { findAttachment } from '../../src/attach/attachments.js';
import { control } from '../../src/attach/control.js';
import type { ControlOperation } from '../../src/attach/control-operations.js';
import { attachImage, detachAttachment } from '../../src/attach/ploopd.js';
import { PloopError } from '../../src/errors.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { startCommand, ploop } from '../helpers/command.js';
import type { Places } from '../helpers/scratch.js';
import { checked, startStress, withAttached } from './device.js';
import { addFigures, type Figures, noFigures } from './figures.js';
import { killWorker, type KillOptions } from './killer.js';

const MIB = 2 ** 20;
const SIZE_BYTES = 512 * MIB;

/** Something to do on an attached image; answers the arguments of its control operation. */
const OPERATIONS: readonly { op: ControlOperation; args: (round: number) => object }[] = [
  { op: 'snapshot', args: (round) => ({ name: `s${round}` }) },
  { op: 'compact', args: () => ({}) },
  { op: 'resize', args: (round) => ({ size: SIZE_BYTES + round * MIB }) },
];

/** Each kill lands inside one of the operations, which run under blockstress. */
export async function killInsideOperations(scratch: Places, options: KillOptions): Promise<Figures> {
  const dir = scratch.path('operations');
  await native.create(dir, { size: SIZE_BYTES });
  return withAttached(scratch, dir, async ({ device, folder }) => {
    const stress = startStress(device, { model: `${dir}.model` });
    const figures = noFigures();
    for (let round = 1; round <= options.kills; round++) {
      const { op, args } = OPERATIONS[round % OPERATIONS.length] ?? { op: 'snapshot', args: () => ({}) };
      await sleep(100 + options.random() * 300);
      const request = ask(scratch, dir, op, args(round));
      await sleep(options.random() * 25);
      figures.restartMs.push(await killWorker(folder));
      figures.kills++;
      await request;
      await again(scratch, dir, op, args(round));
    }
    return addFigures(figures, await stress.end());
  });
}

/** "" when it was done, otherwise the code of the failure. */
async function ask(scratch: Places, dir: string, op: ControlOperation, args: object): Promise<string> {
  const attachment = await findAttachment(dir, { runDir: scratch.runDir });
  if (attachment === null) throw new Error(`${dir} is not attached`);
  return control(attachment, op, args).then(
    () => '',
    (error: unknown) => (error instanceof PloopError ? error.code : Promise.reject(error)),
  );
}

/** The operation can be done again, whatever became of it: a snapshot of that name may be there. */
async function again(scratch: Places, dir: string, op: ControlOperation, args: object): Promise<void> {
  const outcome = await ask(scratch, dir, op, args);
  if (outcome !== '' && !(op === 'snapshot' && outcome === 'EXISTS')) throw new Error(`${op} after a kill: ${outcome}`);
}

/** kill -9 of `ploop snapshot-delete` on a detached image, again and again until it gets through. */
export async function killInsideDelete(scratch: Places, options: KillOptions): Promise<Figures> {
  const dir = scratch.path('delete');
  const figures = noFigures();
  await native.create(dir, { size: SIZE_BYTES });
  const content = randomBytes(24 * MIB);
  while (figures.kills < options.kills) {
    await write(scratch, dir, content);
    await ploop('snapshot', dir, '--name', 'victim');
    await write(scratch, dir, content.subarray(0, 8 * MIB));
    for (let interrupted = true; interrupted;) {
      const { child, ended } = startCommand('ploop', ['snapshot-delete', dir, 'victim']);
      await sleep(150 + options.random() * 250);
      child.kill('SIGKILL');
      const { status, signal } = await ended;
      interrupted = signal !== null && figures.kills < options.kills;
      if (signal !== null) figures.kills++;
      if (status !== null && status !== 0 && status !== 8) figures.ioErrors++;
      figures.verifyErrors += await differs(dir, content);
      Object.assign(figures, addFigures(figures, await checked(dir)));
    }
    await ploop('snapshot-delete', dir, 'victim');
  }
  return figures;
}

async function write(scratch: Places, dir: string, content: Buffer): Promise<void> {
  const attached = await attachImage(dir, { runDir: scratch.runDir });
  const disk = await open(attached.device ?? '', 'r+');
  await disk.write(content, 0, content.length, 0);
  await disk.sync();
  await disk.close();
  await run('blockdev', ['--flushbufs', attached.device ?? '']);
  await detachAttachment(attached, { runDir: scratch.runDir });
}

async function differs(dir: string, content: Buffer): Promise<number> {
  await using reader = await native.openReader(dir);
  const found = await reader.read(0, content.length);
  return found.equals(content) ? 0 : 1;
}
