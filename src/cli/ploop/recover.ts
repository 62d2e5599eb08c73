// SPDX-License-Identifier: Apache-2.0
// `ploop recover`: an image whose workers died too often, or whose keeper was killed, is served again.
import { attachmentsOf } from '../../attach/attachments.js';
import { deadDaemon } from '../../attach/control.js';
import { recoverAttachment } from '../../attach/ploopd.js';
import { PloopError } from '../../errors.js';
import { readDescriptor } from '../../image/descriptor.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, word } from './image-argument.js';

export const recoverCommand: Command = {
  name: 'recover',
  summary: 'let an attached image be served again',
  description:
    'Starts the worker of an image again after it has died five times within ten seconds, and the keeper where it was killed. ' +
    'Requests that waited go on; nothing is lost. Harmless when nothing is wrong.',
  arguments: [IMAGE_ARGUMENT],
  examples: [['ploop recover /vz/web', 'when ploop info says that it is stopped']],
  run: recover,
};

async function recover(ctx: Context, args: ParsedArguments): Promise<void> {
  const dir = word(args, 'dir');
  const attachments = await attachmentsOf(dir, runDirOption(ctx));
  if (attachments.length === 0) {
    await readDescriptor(dir);
    throw new PloopError('NOT_ATTACHED', `${dir} is not attached`);
  }
  const recovered = [];
  for (const one of attachments) {
    if (!one.live) throw deadDaemon(one);
    const { keeper, worker } = await recoverAttachment(one, runDirOption(ctx));
    recovered.push({ attachment: one.attachment, directory: one.directory, before: one.state, keeper, worker });
  }
  ctx.result({ recovered }, recovered.map((one) => `${one.directory}: was ${one.before}, is running (worker ${one.worker})`).join('\n'));
}
