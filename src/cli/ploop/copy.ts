// SPDX-License-Identifier: Apache-2.0
// `ploop copy`: an image with its snapshots to another name or host, also while it is in use.
import { resolve } from 'node:path';

import { PloopError } from '../../errors.js';
import { checkText } from '../../native/arguments.js';
import { copyImage, type CopyRound } from '../../stream/copy.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { runDirOption, text, withProgress, word } from './image-argument.js';
import { parseLevel } from './send.js';

export const copyCommand: Command = {
  name: 'copy',
  summary: 'copy an image with its snapshots, here or to another host',
  description:
    'Takes a snapshot, sends it with those before it and removes it again on both sides. A copy that is there already and has a ' +
    'snapshot in common gets only what changed. With --live round follows round until little has changed in between; for the last ' +
    'one a mounted file system is held still until it has arrived, so that the copy is the image as it is at that moment. What is ' +
    'written afterwards is not in the copy: to move a container, stop it and copy once more. An interrupted copy goes on when the ' +
    'command is given again. On another host the same ploop is run through ssh.',
  arguments: [
    { name: 'src', summary: 'the image', required: true },
    { name: 'dst', summary: '[HOST:]DIR, the copy', required: true },
  ],
  options: [
    { flags: '--live', summary: 'follow an image in use round by round' },
    {
      flags: '--rest <size>',
      summary: 'the last round when at most this much has changed; default 16M',
      parse: (given) => parseSize(given, '--rest'),
    },
    { flags: '--rounds <n>', summary: 'at most this many; default 8', parse: (given) => whole(given, '--rounds', 1) },
    {
      flags: '--max-pause <seconds>',
      summary: 'end the last freeze after this long; default 30',
      parse: (given) => whole(given, '--max-pause', 1),
    },
    {
      flags: '--handover <command>',
      summary: 'a shell command that runs when the copy is complete and the source is still held still; see stream.md',
      parse: (given) => checkText('--handover', given, { maxBytes: 65_536 }),
    },
    {
      flags: '--keep <name>',
      summary: 'keep the last snapshot on both sides under this name: the base of the next copy',
      parse: (given) => checkText('--keep', given, { maxBytes: 127, line: true }),
    },
    { flags: '--force', summary: 'discard what was written to the copy' },
    { flags: '--rsh <command>', summary: 'what reaches the host; default ssh' },
    { flags: '--level <n>', summary: 'zstd compression, 0 (none) to 19', parse: parseLevel },
  ],
  examples: [
    ['ploop copy /vz/web backup:/vz/web --keep monday', 'a backup; the next one sends only what changed'],
    ['ploop copy /vz/web host2:/vz/web --live', 'while it runs'],
    ["ploop copy /vz/web host2:/vz/web --live --handover 'ssh host2 start-web'", 'and goes on there'],
  ],
  run: copy,
};

function whole(given: string, option: string, min: number): number {
  const value = Number(given);
  if (!/^\d{1,6}$/.test(given) || value < min)
    throw new PloopError('INVALID_ARGUMENT', `${option}: ${given} is not a whole number of at least ${min}`);
  return value;
}

async function copy(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'src');
  const seconds = options['maxPause'] as number | undefined;
  const copied = await withProgress(ctx, 'copying', (onProgress) =>
    copyImage(dir, word(args, 'dst'), {
      live: options['live'] === true,
      restBytes: options['rest'] as number | undefined,
      maxRounds: options['rounds'] as number | undefined,
      maxPauseMs: seconds === undefined ? undefined : seconds * 1000,
      handover: text(options['handover']),
      onHandover: (said) => ctx.note(`handed over${said === '' ? '' : `: ${said}`}`),
      keep: text(options['keep']),
      force: options['force'] === true,
      rsh: text(options['rsh'])
        ?.split(' ')
        .filter((part) => part !== ''),
      level: options['level'] as number | undefined,
      onRound: (round) => ctx.note(describe(round)),
      onProgress,
      signal: ctx.signal,
      ...runDirOption(ctx),
    }),
  );
  if (copied.pauseMs !== null) ctx.note(`pause: ${Math.round(copied.pauseMs)} ms`);
  for (const id of copied.left) ctx.note(`snapshot ${id} of the copy stays until it can be deleted: ploop snapshot-delete DIR ${id}`);
  ctx.result({ directory: resolve(dir), ...copied }, '');
}

function describe({ round, dataBytes, streamBytes, ms, resumed }: CopyRound): string {
  return `round ${round}: ${formatSize(dataBytes)} of data in ${formatSize(streamBytes)}, ${ms} ms${resumed ? ' (went on)' : ''}`;
}
