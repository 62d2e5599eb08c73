// SPDX-License-Identifier: Apache-2.0
// Tables of the device benchmark: everybody against the raw file, ours against qcow2, and what the host paid.
import type { Report } from './report.js';
import { countText, geometricMean, ratioOf, ratioText, spreadOf } from './statistics.js';
import type { Workload } from './workloads.js';

export interface Measured {
  workload: Workload;
  /** By contender, the first one is what the others are compared with; one figure a round. */
  of: { name: string; iops: number[]; hostBytes: number[]; p99Us: number[]; wrong: boolean }[];
}

/** Behind figures of writes that a contender mixed up in a verified run. */
const WRONG = ' †';

export function compare(measured: readonly Measured[]): Report[] {
  const reports = [againstFirst(measured), againstPeer(measured), hostSpace(measured)];
  return reports.filter(({ rows }) => rows.length > 0);
}

function figuresOf(measured: readonly Measured[]): unknown {
  return measured.map(({ workload, of }) => ({ workload: workload.name, of }));
}

function againstFirst(measured: readonly Measured[]): Report {
  const names = [...new Set(measured.flatMap(({ of }) => of.slice(1).map(({ name }) => name)))];
  const rows = measured.map(({ workload, of }) => {
    const base = of[0]?.iops ?? [];
    const cell = (name: string): string => {
      const one = of.find((candidate) => candidate.name === name);
      return one === undefined ? '' : ratioText(ratioOf(one.iops, base)) + (one.wrong ? WRONG : '');
    };
    return [workload.title, countText(spreadOf(base).median), ...names.map(cell)];
  });
  return {
    title: 'Devices: ratio to the loop device on an allocated raw file',
    columns: ['workload', 'raw, requests/s', ...names],
    rows,
    notes: ['Median of the ratios of all rounds, with the lowest and the highest. More is better.', ...wrongNote(measured)],
    figures: figuresOf(measured),
  };
}

function wrongNote(measured: readonly Measured[]): string[] {
  const names = [...new Set(measured.flatMap(({ of }) => of.filter(({ wrong }) => wrong).map(({ name }) => name)))];
  return names.length === 0
    ? []
    : [`†: ${names.join(', ')} did not hold what was written, as many requests at a time (fio --verify before the rounds).`];
}

/** ours-base against qcow2-base where both are there, else ours against qcow2. */
function againstPeer(measured: readonly Measured[]): Report {
  const pairs = [
    ['ours', 'qcow2'],
    ['ours-base', 'qcow2-base'],
  ];
  const ratios: { median: number; wrong: boolean }[] = [];
  const rows = measured.flatMap(({ workload, of }) =>
    pairs.flatMap(([a, b]) => {
      const [mine, theirs] = [a, b].map((name) => of.find((one) => one.name === name));
      if (mine === undefined || theirs === undefined) return [];
      const ratio = ratioOf(mine.iops, theirs.iops);
      ratios.push({ median: ratio.median, wrong: theirs.wrong });
      return [[workload.title, `${a} / ${b}`, ratioText(ratio) + (theirs.wrong ? WRONG : '')]];
    }),
  );
  const right = ratios.filter(({ wrong }) => !wrong);
  return {
    title: 'Devices: ours against qcow2',
    columns: ['workload', 'who', 'ratio'],
    rows,
    notes: [
      summaryOf('all', ratios),
      ...(right.length < ratios.length ? [summaryOf('those without †', right)] : []),
      ...wrongNote(measured),
    ],
    figures: { all: ratios, geometricMean: geometricMean(ratios.map(({ median }) => median)) },
  };
}

function summaryOf(which: string, ratios: readonly { median: number }[]): string {
  const medians = ratios.map(({ median }) => median);
  return `Of ${which} (${medians.length}): geometric mean ${geometricMean(medians).toFixed(2)}, lowest ${Math.min(...medians).toFixed(2)}.`;
}

function hostSpace(measured: readonly Measured[]): Report {
  const rows = measured
    .filter(({ workload }) => workload.on === 'over-base' || workload.on === 'empty')
    .flatMap(({ workload, of }) =>
      of.map(({ name, hostBytes }) => [workload.title, name, (spreadOf(hostBytes).median / (workload.bytes ?? Number.NaN)).toFixed(3)]),
    );
  return { title: 'Devices: host space taken for each byte written', columns: ['workload', 'who', 'bytes'], rows };
}
