// SPDX-License-Identifier: Apache-2.0
// `ploop check`: reads all metadata of an image, says what is wrong with it and what that means, and repairs it if asked.
import { resolve } from 'node:path';

import { addChecksums, checkImage } from '../../attach/operations.js';
import { ERROR_EXIT_STATUS, PloopError } from '../../errors.js';
import { clearAbandoned, hasAside } from '../../filesystem/image/temporary.js';
import { readDescriptor } from '../../image/descriptor.js';
import type { NativeCheckResult, NativeFinding } from '../../native/index.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, withProgress, word } from './image-argument.js';

export const checkCommand: Command = {
  name: 'check',
  summary: 'verify an image, and repair it',
  description:
    'Reads the descriptor and all metadata of all layers of a detached image. Without --repair or --add-checksums nothing is changed. ' +
    `The exit status is 0 when it is clean, ${ERROR_EXIT_STATUS.DAMAGED} when damage was found or left, and ` +
    `${ERROR_EXIT_STATUS.REPAIRED} when all that was found has been repaired. Where a repair has to give something up, the layer ` +
    'as it was and a report are kept in a folder of the image before anything is changed. The file system inside is not looked at.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--repair', summary: 'repair what can be' },
    { flags: '--data', summary: 'also compare the blocks of sealed layers with their checksums' },
    { flags: '--add-checksums', summary: 'give sealed layers the block checksums they lack' },
  ],
  examples: [
    ['ploop check /vz/web', 'is everything in order?'],
    ['ploop check /vz/web --data', 'has the host disk changed a block of a snapshot?'],
    ['ploop check /vz/web --repair', 'repair it; then check the file system inside'],
  ],
  run: check,
};

const LEFT_ASIDE =
  'an interrupted shrink left a snapshot, ploop-aside, or a copy (no damage); the next mount, resize or compact takes it away, or --repair';

async function check(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<number> {
  const dir = word(args, 'dir');
  const directory = resolve(dir);
  const repair = options['repair'] === true;
  // A damaged descriptor is the check's to name.
  const readable = await readDescriptor(dir).then(
    () => true,
    () => false,
  );
  if (readable && repair) await clearAbandoned(dir, { ...runDirOption(ctx), onNote: (text) => ctx.note(text) });
  const interrupted = readable && (await hasAside(dir));
  const found = await checkImage(dir, { data: options['data'] === true, repair, ...runDirOption(ctx) });
  const repaired = repair && found.findingsTotal > 0 && found.left === 0;
  const clean = found.findingsTotal === 0;
  const checksumsAdded = options['addChecksums'] === true ? await add(ctx, dir, clean || repaired) : null;
  const lines = render(directory, found, repair);
  if (interrupted) lines.push(LEFT_ASIDE);
  if (checksumsAdded !== null) lines.push(`block checksums added to ${count(checksumsAdded, 'layer')}`);
  ctx.result({ directory, clean, repaired, interrupted, checksumsAdded, ...found }, lines.join('\n'));
  if (clean) return 0;
  return repaired ? ERROR_EXIT_STATUS.REPAIRED : ERROR_EXIT_STATUS.DAMAGED;
}

/** Checksums of what is damaged would call it good for ever. */
async function add(ctx: Context, dir: string, sound: boolean): Promise<number> {
  if (!sound) {
    throw new PloopError('DAMAGED', `${dir} is damaged: no checksums were added`, {
      hint: `See what is wrong with: ploop check ${dir}`,
    });
  }
  return withProgress(ctx, 'checksums', (onProgress) => addChecksums(dir, { onProgress, signal: ctx.signal, ...runDirOption(ctx) }));
}

function render(directory: string, found: NativeCheckResult, repair: boolean): string[] {
  const lines = found.findings.flatMap(findingLines);
  const hidden = found.findingsTotal - found.findings.length;
  if (hidden > 0) lines.push(`… and ${hidden} more`);
  lines.push(`${directory} ${verdict(found, repair)}`);
  if (found.report !== null) lines.push(`what was there, and a report: ${directory}/${found.report}`);
  const cleaned = repair ? 'cleaned up' : 'the next command that changes the image cleans up';
  if (found.unclean > 0) lines.push(`${count(found.unclean, 'layer')} left open by a crash (no damage); ${cleaned}`);
  if (found.leftovers > 0) lines.push(`${count(found.leftovers, 'file')} of an interrupted command left over; ${cleaned}`);
  if (found.blocksVerified + found.blocksNotCovered > 0) {
    lines.push(`data: ${count(found.blocksVerified, 'block')} verified, ${found.blocksNotCovered} not covered by checksums`);
  }
  return lines;
}

function verdict(found: NativeCheckResult, repair: boolean): string {
  const read = [
    count(found.layers, 'layer'),
    count(found.mapPages, 'map page'),
    count(found.clusters, 'cluster'),
    count(found.journalRecords, 'journal record'),
  ].join(', ');
  const findings = count(found.findingsTotal, 'finding');
  if (found.findingsTotal === 0) return `is clean: ${read}`;
  if (!repair) return `is damaged: ${findings} in ${read}`;
  const done = `${findings}, ${found.fixed} fixed, ${found.salvaged} salvaged, ${found.left} left`;
  return found.left === 0 ? `is repaired: ${done}` : `is damaged: ${done}`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function findingLines(finding: NativeFinding): string[] {
  const where = finding.layer === '' ? 'descriptor' : `layer ${finding.layer.slice(0, 8)} at byte ${finding.offset}`;
  const done = finding.outcome === 'found' ? '' : ` (${finding.outcome})`;
  return [`${finding.code}: ${where}: ${finding.text}${done}`, `  ${finding.meaning}`];
}
