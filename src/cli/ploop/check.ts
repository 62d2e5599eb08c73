// SPDX-License-Identifier: Apache-2.0
// `ploop check`: reads all metadata of an image and says what is wrong with it.
import { resolve } from 'node:path';

import { checkImage } from '../../attach/operations.js';
import { ERROR_EXIT_STATUS } from '../../errors.js';
import type { NativeCheckResult, NativeFinding } from '../../native/index.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, word } from './image-argument.js';

export const checkCommand: Command = {
  name: 'check',
  summary: 'verify the metadata of an image',
  description:
    'Reads the descriptor and all metadata of all layers of a detached image and changes nothing. The exit status is 0 when it is ' +
    `clean and ${ERROR_EXIT_STATUS.DAMAGED} when damage was found. The file system inside is not looked at.`,
  arguments: [IMAGE_ARGUMENT],
  run: check,
};

async function check(ctx: Context, args: ParsedArguments): Promise<number> {
  const directory = resolve(word(args, 'dir'));
  const found = await checkImage(word(args, 'dir'), runDirOption(ctx));
  const clean = found.findingsTotal === 0;
  ctx.result({ directory, clean, ...found }, render(directory, found));
  return clean ? 0 : ERROR_EXIT_STATUS.DAMAGED;
}

function render(directory: string, found: NativeCheckResult): string {
  const counts = [
    count(found.layers, 'layer'),
    count(found.mapPages, 'map page'),
    count(found.clusters, 'cluster'),
    count(found.journalRecords, 'journal record'),
  ];
  const read = counts.join(', ');
  const left = `${count(found.leftovers, 'file')} of an interrupted command left over; the next command that changes the image cleans up`;
  const leftovers = found.leftovers === 0 ? '' : `\n${left}`;
  if (found.findingsTotal === 0) return `${directory} is clean: ${read}${leftovers}`;
  const hidden = found.findingsTotal - found.findings.length;
  const lines = found.findings.map(findingLine);
  if (hidden > 0) lines.push(`… and ${hidden} more`);
  return `${lines.join('\n')}\n${directory} is damaged: ${count(found.findingsTotal, 'finding')} in ${read}${leftovers}`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function findingLine(finding: NativeFinding): string {
  const where = finding.layer === '' ? 'descriptor' : `layer ${finding.layer.slice(0, 8)} at byte ${finding.offset}`;
  return `${finding.code}: ${where}: ${finding.text}`;
}
