// SPDX-License-Identifier: Apache-2.0
// `ploop compactd`: compacts attached images by itself, one round (for a timer) or round after round.
import { setTimeout as sleep } from 'node:timers/promises';

import { checkCompactdConfig, readCompactdConfig, windowLeftMs, type CompactdConfig } from '../../filesystem/compactd/config.js';
import { compactRound, type RoundEntry } from '../../filesystem/compactd/round.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { runDirOption, text } from './image-argument.js';

export const compactdCommand: Command = {
  name: 'compactd',
  summary: 'compact attached images that have become smeared, by itself',
  description:
    'One round over all attached images, from where the last one stopped; with --daemon again and again. An image is compacted when ' +
    'its smear, as far as it can be freed, is beyond the thresholds of the configuration (/etc/ploop/compactd.json), within its window, time and rate. A command ' +
    'that wants an image meanwhile gets it at once. Writes a line for each image; with --json, or as a daemon, in JSON.',
  options: [
    { flags: '--config <file>', summary: 'read this instead of /etc/ploop/compactd.json' },
    { flags: '--daemon', summary: 'go on until it is told to stop' },
    { flags: '--window <from-to>', summary: 'only in this time of the day: 01:00-05:00' },
  ],
  examples: [
    ['ploop compactd', 'one round, as the timer in systemd/ starts it'],
    ['ploop compactd --daemon --window 01:00-05:00', 'without systemd'],
  ],
  run: compactd,
};

/** How often the daemon looks whether its window is open. */
const LOOK_MS = 60_000;

async function compactd(ctx: Context, _args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const read = await readCompactdConfig(text(options['config']));
  const window = text(options['window']);
  const config = window === undefined ? read : checkCompactdConfig('--window', { ...read, window });
  const daemon = options['daemon'] === true;
  const log = (entry: RoundEntry): void => {
    if (daemon) ctx.stdout.write(`${JSON.stringify(entry)}\n`);
    else if (!ctx.json) ctx.stdout.write(`${line(entry)}\n`);
  };
  for (;;) {
    const round = await compactRound(config, { ...runDirOption(ctx), signal: ctx.signal, log });
    if (!daemon) {
      ctx.note(`ended: ${round.ended === 'all' ? 'all images were looked at' : round.ended}`);
      ctx.result(round, '');
      return;
    }
    await sleep(config.intervalSeconds * 1000, undefined, { signal: ctx.signal }).catch(() => undefined);
    await untilOpen(config, ctx.signal);
    if (ctx.signal.aborted) return;
  }
}

async function untilOpen(config: CompactdConfig, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && windowLeftMs(config, new Date()) <= 0) await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
}

function line({ directory, outcome, hostBytesBefore, hostBytesAfter, smearBytesBefore, ms, error }: RoundEntry): string {
  const host = outcome === 'compacted' ? `${formatSize(hostBytesBefore)} → ${formatSize(hostBytesAfter)}` : formatSize(hostBytesBefore);
  const smear = smearBytesBefore === null ? '' : `, smear was ${formatSize(smearBytesBefore)}`;
  return `${directory}: ${outcome}, the host spends ${host}${smear}, ${(ms / 1000).toFixed(1)} s${error === null ? '' : `: ${error}`}`;
}
