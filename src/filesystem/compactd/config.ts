// SPDX-License-Identifier: Apache-2.0
// What automatic compaction may do, and when: /etc/ploop/compactd.json, each member of which may be left out.
import { readFile } from 'node:fs/promises';

import { PloopError } from '../../errors.js';
import { checkOptions } from '../../native/arguments.js';

export interface CompactdConfig {
  /** "01:00-05:00", local time; may span midnight. null: at any time. */
  window: string | null;
  /** For one round over all images, and for one image. */
  roundSeconds: number;
  imageSeconds: number;
  /** An image is left alone unless the smear that compaction can free (trimBytes and packBytes) is more than both. */
  smearPercent: number;
  smearBytes: number;
  /** Of the time that trimming may take. */
  busyPercent: number;
  /** Of data that packing moves; null: as fast as it goes. */
  rateBytesPerSecond: number | null;
  /** With --daemon: from the end of a round to the next one. */
  intervalSeconds: number;
}

export const COMPACTD_DEFAULTS: CompactdConfig = {
  window: null,
  roundSeconds: 4 * 3600,
  imageSeconds: 900,
  smearPercent: 10,
  smearBytes: 64 * 2 ** 20,
  busyPercent: 25,
  rateBytesPerSecond: 64 * 2 ** 20,
  intervalSeconds: 3600,
};

export const COMPACTD_CONFIG = '/etc/ploop/compactd.json';

/** The defaults where the file is not there, unless it was asked for by name. */
export async function readCompactdConfig(path: string | undefined): Promise<CompactdConfig> {
  const file = path ?? COMPACTD_CONFIG;
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && path === undefined) return '{}';
    throw new PloopError(error.code === 'ENOENT' ? 'NOT_FOUND' : 'IO', `${file}: ${error.code ?? error.message}`, { cause: error });
  });
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new PloopError('INVALID_ARGUMENT', `${file} is not JSON: ${String(error)}`, { cause: error });
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new PloopError('INVALID_ARGUMENT', `${file}: no object`);
  return checkCompactdConfig(file, given as Partial<CompactdConfig>);
}

export function checkCompactdConfig(where: string, given: Partial<CompactdConfig>): CompactdConfig {
  checkOptions(where, given, Object.keys(COMPACTD_DEFAULTS));
  const config = { ...COMPACTD_DEFAULTS, ...given };
  const bad = (member: string, what: string): PloopError => new PloopError('INVALID_ARGUMENT', `${where}: ${member}: must be ${what}`);
  if (config.window !== null) parseWindow(config.window, where);
  for (const member of ['roundSeconds', 'imageSeconds', 'smearPercent', 'smearBytes', 'intervalSeconds'] as const) {
    if (typeof config[member] !== 'number' || !(config[member] >= 0)) throw bad(member, 'a number from 0');
  }
  if (!(config.busyPercent >= 1 && config.busyPercent <= 100)) throw bad('busyPercent', 'from 1 to 100');
  if (config.rateBytesPerSecond !== null && !(config.rateBytesPerSecond >= 4096)) throw bad('rateBytesPerSecond', 'null or at least 4096');
  return config;
}

interface Window {
  startMinute: number;
  endMinute: number;
}

function parseWindow(text: string, where: string): Window {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/.exec(text);
  if (match === null) throw new PloopError('INVALID_ARGUMENT', `${where}: window: '${text}' is not of the form 01:00-05:00`);
  const [, a, b, c, d] = match.map(Number);
  const window = { startMinute: (a ?? 0) * 60 + (b ?? 0), endMinute: (c ?? 0) * 60 + (d ?? 0) };
  if (window.startMinute === window.endMinute)
    throw new PloopError('INVALID_ARGUMENT', `${where}: window: '${text}' never opens`, { hint: 'Leave it out (null) for any time.' });
  return window;
}

/** How long the window is still open, in ms; 0 outside of it, Infinity without one. */
export function windowLeftMs({ window }: Pick<CompactdConfig, 'window'>, now: Date): number {
  if (window === null) return Infinity;
  const { startMinute, endMinute } = parseWindow(window, 'compactd');
  const minute = now.getHours() * 60 + now.getMinutes();
  const inside = startMinute <= endMinute ? minute >= startMinute && minute < endMinute : minute >= startMinute || minute < endMinute;
  if (!inside) return 0;
  const minutes = (endMinute - minute + 1440) % 1440;
  return minutes * 60_000 - now.getSeconds() * 1000;
}
