// SPDX-License-Identifier: Apache-2.0
// `ploop detach`: the block device goes away, the daemon ends.
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { attachmentsOf, listAttachments, type Attachment } from '../../attach/attachments.js';
import { detachAttachment } from '../../attach/ploopd.js';
import { PloopError } from '../../errors.js';
import { collectTemporary } from '../../filesystem/image/collect.js';
import { readDescriptor } from '../../image/descriptor.js';
import { findSnapshot } from '../../image/snapshots.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { collectOptions, runDirOption, text, word } from './image-argument.js';

export const detachCommand: Command = {
  name: 'detach',
  summary: 'take the block device of an image away',
  description:
    'Writes everything out, removes the block device and ends the daemon. Refuses while the device is mounted or open. ' +
    'Also cleans up after a daemon that was killed.',
  arguments: [{ name: 'dir', summary: 'the image, or its device', required: true }],
  options: [
    { flags: '--snapshot <id>', summary: 'detach this snapshot instead of the present state' },
    { flags: '-a, --all', summary: 'detach the image and all its attached snapshots' },
  ],
  examples: [['ploop detach /vz/web', 'the opposite of attach']],
  run: detach,
};

async function detach(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const chosen = await choose(ctx, word(args, 'dir'), options);
  const top = chosen.find((one) => one.snapshot === null && one.live && !one.readOnly);
  if (top !== undefined) await collectTemporary(top.directory, collectOptions(ctx));
  for (const one of chosen) await detachAttachment(one, runDirOption(ctx));
  const [first] = chosen;
  if (top === undefined && first !== undefined) await collectTemporary(first.directory, collectOptions(ctx));
  const detached = chosen.map(({ attachment, directory, snapshot, device }) => ({ attachment, directory, snapshot, device }));
  ctx.result({ detached }, detached.map((one) => `${one.directory}: ${one.device ?? 'ploopd'} detached`).join('\n'));
}

async function choose(ctx: Context, target: string, options: ParsedOptions): Promise<Attachment[]> {
  if (await isDevice(target)) return byDevice(ctx, target);
  const attached = await attachmentsOf(target, runDirOption(ctx));
  const key = text(options['snapshot']);
  if (options['all'] === true && attached.length > 0) return attached.toReversed();
  const wanted = key === undefined ? null : findSnapshot(await readDescriptor(target), key).id;
  const found = attached.find((one) => one.snapshot === wanted);
  if (found !== undefined) return [found];
  // Names what is not an image, before saying that it is not attached.
  await readDescriptor(target);
  const snapshots = attached.filter((one) => one.snapshot !== null);
  const hint =
    snapshots.length === 0
      ? undefined
      : `Attached are its snapshots ${snapshots.map((one) => one.snapshot?.slice(0, 8)).join(', ')}: give --snapshot or --all.`;
  throw new PloopError('NOT_ATTACHED', `${resolve(target)}${wanted === null ? '' : ` (snapshot ${wanted.slice(0, 8)})`} is not attached`, {
    hint,
  });
}

/** An image may be kept in /dev/shm. A device that is gone is to be called one all the same. */
async function isDevice(target: string): Promise<boolean> {
  if (!target.startsWith('/dev/')) return false;
  return !((await stat(target).catch(() => null))?.isDirectory() ?? false);
}

async function byDevice(ctx: Context, device: string): Promise<Attachment[]> {
  const found = (await listAttachments(runDirOption(ctx))).find((one) => one.device === device);
  if (found === undefined)
    throw new PloopError('NOT_ATTACHED', `${device} is not a device of an attached image`, { hint: 'See: ploop list' });
  return [found];
}
