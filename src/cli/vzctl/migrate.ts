// SPDX-License-Identifier: Apache-2.0
// vzctl migrate, and what it runs on the other host.
import { type Incoming, type IncomingDetails, incomingStep, type IncomingStep } from '../../container/move/incoming.js';
import { type MigratedContainer, migrateContainer } from '../../container/move/migrate.js';
import { PloopError } from '../../errors.js';
import type { CopyRound } from '../../stream/copy.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { withProgress } from '../ploop/image-argument.js';
import { CTID, ctidOf, rootsOf, textOf, VZ_ROOT } from './options.js';
import { FAST, stopOptions, TIMEOUT } from './run.js';

export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'move a container to another host',
  description:
    'Stops the container, copies its disk with all snapshots and its configuration, starts it there and removes it here. With --live the ' +
    'disk is copied before, while it runs, and once more for what has changed when it is stopped. What cannot exist there is refused ' +
    'before anything is stopped: an id that is taken, no runtime, no room. A move that was cut off goes on, or is taken back, when the ' +
    'same command is given again; the container never runs on both hosts. ploop has to be installed there.',
  arguments: [CTID, { name: 'HOST', summary: 'the other host, as ssh knows it', required: true }],
  options: [
    { flags: '--live', summary: 'copy the disk while the container runs' },
    { flags: '--keep', summary: 'keep it here, stopped: private/.CTID.migrated and CTID.conf.migrated' },
    FAST,
    TIMEOUT,
    { flags: '--rsh <command>', summary: 'what reaches the host; default ssh' },
    VZ_ROOT,
  ],
  examples: [
    ['vzctl migrate 101 host2', 'stop it, move it, start it there'],
    ['vzctl migrate 101 host2 --live', 'with a short stop, however large its disk is'],
  ],
  run: migrate,
};

async function migrate(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const moved = await withProgress(ctx, 'copying', (onProgress) =>
    migrateContainer(ctidOf(args), args['HOST'] as string, {
      ...rootsOf(options),
      ...stopOptions(options),
      live: options['live'] === true,
      keep: options['keep'] === true,
      rsh: textOf(options, 'rsh')
        ?.split(' ')
        .filter((part) => part !== ''),
      onStep: (text) => ctx.note(text),
      onRound: (round) => ctx.note(roundText(round)),
      onProgress,
      signal: ctx.signal,
    }),
  );
  ctx.result(moved, movedText(moved));
}

function roundText({ dataBytes, streamBytes, ms }: CopyRound): string {
  return `  ${formatSize(dataBytes)} of data in ${formatSize(streamBytes)}, ${ms} ms`;
}

function movedText({ ctid, to, running, downtimeMs, kept }: MigratedContainer): string {
  const state = running ? 'runs' : 'is stopped';
  const down = downtimeMs === null ? '' : `, it was down for ${(downtimeMs / 1000).toFixed(1)} s`;
  return `Container ${ctid} moved to ${to}, where it ${state}${down}${kept === null ? '' : `; kept here in ${kept}`}`;
}

const STEPS: readonly IncomingStep[] = ['prepare', 'register', 'start', 'cancel'];

export const incomingCommand: Command = {
  name: 'incoming',
  summary: 'one step of the receiving side of vzctl migrate, which runs it',
  description: `Not for people. Steps: ${STEPS.join(', ')}; each may be repeated`,
  arguments: [{ name: 'STEP', summary: 'what to do', required: true }, CTID],
  options: [{ flags: '--details <json>', summary: 'what the step needs to know', required: true }, VZ_ROOT],
  async run(ctx, args, options) {
    const step = STEPS.find((one) => one === args['STEP']);
    if (step === undefined) throw new PloopError('INVALID_ARGUMENT', `STEP: one of ${STEPS.join(', ')}`);
    const done: Incoming = await incomingStep(ctidOf(args), step, parseDetails(options['details'] as string), rootsOf(options));
    ctx.result(done, done.state);
  },
};

function parseDetails(text: string): IncomingDetails {
  try {
    const details = JSON.parse(text) as IncomingDetails | null;
    if (typeof details?.uuid === 'string' && details.uuid !== '') return details;
  } catch {
    // Not JSON: the same answer.
  }
  throw new PloopError('INVALID_ARGUMENT', '--details: not what vzctl migrate says', { hint: 'Both hosts need about the same version.' });
}
