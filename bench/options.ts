// SPDX-License-Identifier: Apache-2.0
// The command line of `npm run bench`: which benchmarks, how often, how long, where the figures go.
import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Repetitions of everything; medians and spread are over these. */
  rounds: number;
  /** Of one measurement of a device. */
  seconds: number;
  /** Of a device's disk. */
  sizeBytes: number;
  /** Workloads or figures by name; empty: all. */
  only: readonly string[];
  /** Contenders by name; empty: all. */
  against: readonly string[];
  /** Attached images at a time, for figures of many. */
  counts: readonly number[];
  json: string;
}

export interface BenchCommand {
  names: readonly string[];
  options: BenchOptions;
}

export const USAGE = `npm run bench [-- NAME… [--rounds N] [--seconds S] [--size MIB] [--only WORKLOAD,…] [--against CONTENDER,…]
                 [--counts N,…] [--json FILE]]
`;

export function readCommand(args: readonly string[], known: readonly string[]): BenchCommand {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      size: { type: 'string', default: '1024' },
      only: { type: 'string', default: '' },
      against: { type: 'string', default: '' },
      counts: { type: 'string', default: '1,50,200' },
      json: { type: 'string', default: 'build/bench.json' },
    },
  });
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`'${unknown}' is not one of ${known.join(', ')}`);
  return {
    names: positionals.length > 0 ? positionals : known,
    options: {
      rounds: wholeNumber('rounds', values.rounds),
      seconds: wholeNumber('seconds', values.seconds),
      sizeBytes: wholeNumber('size', values.size) * 2 ** 20,
      only: listOf(values.only),
      against: listOf(values.against),
      counts: listOf(values.counts).map((text) => wholeNumber('counts', text)),
      json: values.json,
    },
  };
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${option}: '${text}' is not a whole number from 1`);
  return value;
}

function listOf(text: string): string[] {
  return text.split(',').filter((word) => word !== '');
}

/** What `--only` can name in one benchmark; a benchmark with such names exports them as NAMES. */
export interface Parts {
  bench: string;
  names: readonly string[];
}

/** The benchmarks that `--only` leaves, each with the wanted names that are its own. A name that none of them has is a mistake. */
export function choose(parts: readonly Parts[], only: readonly string[]): { bench: string; only: string[] }[] {
  const all = [...new Set(parts.flatMap(({ names }) => names))];
  const unknown = only.find((name) => !all.includes(name));
  if (unknown !== undefined) {
    const which = all.length > 0 ? `'${unknown}' is not one of ${all.join(', ')}` : 'these benchmarks have no parts to choose from';
    throw new Error(`--only: ${which}`);
  }
  const chosen = parts.map(({ bench, names }) => ({ bench, only: only.filter((name) => names.includes(name)) }));
  return chosen.filter((one) => only.length === 0 || one.only.length > 0);
}

/** The wanted ones of a table, by name; a name that is in none of them is a mistake. */
export function pick<T extends { name: string }>(what: string, all: readonly T[], wanted: readonly string[]): T[] {
  const unknown = wanted.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) throw new Error(`${what} '${unknown}' is not one of ${all.map(({ name }) => name).join(', ')}`);
  return all.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
}
