// SPDX-License-Identifier: Apache-2.0
// `ploop exports`: every image of this host that is served by the NBD protocol.
import { listExports } from '../../attach/exports.js';
import type { Command, Context } from '../command.js';
import { table } from '../table.js';
import { runDirOption } from './image-argument.js';

export const exportsCommand: Command = {
  name: 'exports',
  summary: 'list all NBD exports',
  examples: [['ploop exports', 'names, URIs and how many clients there are']],
  run: list,
};

async function list(ctx: Context): Promise<void> {
  const found = await listExports(runDirOption(ctx));
  const rows = found.map((one) => [
    one.name,
    one.readOnly ? 'ro' : 'rw',
    String(one.clients),
    one.snapshot?.slice(0, 8) ?? '-',
    one.directory,
    one.uri,
  ]);
  const titles = ['NAME', 'MODE', 'CLIENTS', 'SNAPSHOT', 'IMAGE', 'URI'];
  const text = table(
    titles.map((title) => ({ title })),
    rows,
  );
  ctx.result({ exports: found }, text);
}
