// SPDX-License-Identifier: Apache-2.0
// Limits on a device, as commands take and show them.
import { PloopError } from '../errors.js';
import { formatSize, parseSize } from '../units.js';
import type { Option, ParsedOptions } from './command.js';

/** What a device may do at most, and at least be allowed; ploopd checks the same. */
const IOPS_MAX = 1_000_000_000;
const BPS_MIN = 64 * 1024;

export const LIMIT_OPTIONS: Option[] = [
  {
    flags: '--iops <n>',
    summary: 'operations a second at most (reads, writes and discards together), or none',
    parse: (given) => parseIops('--iops', given),
  },
  {
    flags: '--bps <size>',
    summary: 'bytes read and written a second at most, such as 20M, or none',
    parse: (given) => parseBps('--bps', given),
  },
];

/** 0: no limit. */
export function parseIops(option: string, given: string): number {
  if (given === 'none') return 0;
  const count = Number(given);
  if (/^\d+$/.test(given) && count >= 1 && count <= IOPS_MAX) return count;
  throw new PloopError('INVALID_ARGUMENT', `${option}: '${given}' is not a number from 1 to ${IOPS_MAX}, nor none`);
}

/** 0: no limit. */
export function parseBps(option: string, given: string): number {
  if (given === 'none') return 0;
  const bytes = parseSize(given, option);
  if (bytes >= BPS_MIN) return bytes;
  throw new PloopError('INVALID_ARGUMENT', `${option}: '${given}' is below the least limit of 64K a second`, {
    hint: 'Write 64K or more, or none.',
  });
}

export function limitsOf(options: ParsedOptions): { iops: number | undefined; bps: number | undefined } {
  return { iops: options['iops'] as number | undefined, bps: options['bps'] as number | undefined };
}

/** "500 operations and 10 MiB a second"; null: none. */
export function limitsText({ iops, bps }: { iops: number | null; bps: number | null }): string | null {
  const parts = [iops === null ? null : `${iops} operations`, bps === null ? null : formatSize(bps)].filter((part) => part !== null);
  return parts.length === 0 ? null : `${parts.join(' and ')} a second`;
}
