// SPDX-License-Identifier: Apache-2.0
// `ploop list`: every attached image of this host.
import { listAttachments } from '../../attach/attachments.js';
import { withMountPoints } from '../../attach/describe.js';
import type { Command, Context } from '../command.js';
import { table } from '../table.js';
import { runDirOption } from './image-argument.js';
import { stateText, stoppedStatus } from './state.js';

export const listCommand: Command = {
  name: 'list',
  summary: 'list all attached images',
  examples: [['ploop list --json', 'for scripts and monitoring']],
  run: list,
};

async function list(ctx: Context): Promise<number> {
  const attachments = await Promise.all((await listAttachments(runDirOption(ctx))).map(withMountPoints));
  const rows = attachments.map((one) => [
    one.device ?? '-',
    one.via ?? '-',
    one.full === null ? one.state : 'host full',
    one.readOnly ? 'ro' : 'rw',
    one.snapshot?.slice(0, 8) ?? '-',
    one.directory,
    one.mountPoints.join(',') || '-',
    one.since,
  ]);
  const titles = ['DEVICE', 'VIA', 'STATE', 'MODE', 'SNAPSHOT', 'IMAGE', 'MOUNTED ON', 'SINCE'];
  const text = table(
    titles.map((title) => ({ title })),
    rows,
  );
  ctx.result({ attachments }, text);
  for (const one of attachments.filter(({ state }) => state === 'stopped' || state === 'orphan'))
    ctx.note(`${one.directory}${stateText(one)}`);
  return stoppedStatus(attachments);
}
