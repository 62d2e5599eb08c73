// SPDX-License-Identifier: Apache-2.0
// `ploop upgrade`: the installed ploopd takes over attached images while they are in use.
import { attachmentsOf, listAttachments, type Attachment } from '../../attach/attachments.js';
import { deadDaemon } from '../../attach/control.js';
import { upgradeAttachment } from '../../attach/ploopd.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { runDirOption, text } from './image-argument.js';

export const upgradeCommand: Command = {
  name: 'upgrade',
  summary: 'let the installed daemon take over attached images',
  description:
    'After an upgrade of this package: replaces the running daemon of an image by the installed one. The device stays, its requests ' +
    'wait for some milliseconds. When the new one does not start, the old one goes on.',
  arguments: [{ name: 'dir', summary: 'the image' }],
  options: [{ flags: '-a, --all', summary: 'all attached images of this host' }],
  examples: [['ploop upgrade --all', 'after installing a new version']],
  run: upgrade,
};

async function upgrade(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const upgraded = [];
  for (const one of await choose(ctx, text(args['dir']), options['all'] === true)) {
    const { keeper, worker, version, handoverMs } = await upgradeAttachment(one, runDirOption(ctx));
    upgraded.push({ attachment: one.attachment, directory: one.directory, version, keeper, worker, handoverMs });
  }
  if (upgraded.length > 1) ctx.note(handoverTimes(upgraded.map((one) => one.handoverMs)));
  ctx.result(
    { upgraded },
    upgraded.map((one) => `${one.directory}: ploopd ${one.version} took over within ${one.handoverMs} ms`).join('\n'),
  );
}

function handoverTimes(times: number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  return `${times.length} images; requests waited ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms at most`;
}

async function choose(ctx: Context, dir: string | undefined, all: boolean): Promise<Attachment[]> {
  if (all === (dir !== undefined)) throw new PloopError('INVALID_ARGUMENT', 'upgrade: give an image, or --all');
  if (dir === undefined) return (await listAttachments(runDirOption(ctx))).filter((one) => one.live);
  const attachments = await attachmentsOf(dir, runDirOption(ctx));
  const dead = attachments.find((one) => !one.live);
  if (dead !== undefined) throw deadDaemon(dead);
  if (attachments.length > 0) return attachments;
  await readDescriptor(dir);
  throw new PloopError('NOT_ATTACHED', `${dir} is not attached`);
}
