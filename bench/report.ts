// SPDX-License-Identifier: Apache-2.0
// What a benchmark hands back, and how it is printed: a markdown table, so that it can be pasted into a document.
import type { Summary } from 'benny/lib/internal/common-types.js';

export interface Report {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
  /** Sentences under the table. */
  notes?: readonly string[];
  /** What was measured, for the JSON file. */
  figures?: unknown;
}

export function renderReport({ title, columns, rows, notes = [] }: Report): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [line(columns), line(columns.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)];
  return [`### ${title}`, '', ...table, '', ...notes.flatMap((note) => [note, ''])].join('\n');
}

/** benny's summary: operations a second with the margin of error, and the time of one. */
export function reportOf({ name, results }: Summary): Report {
  const rows = results.map((result) => [
    result.name,
    Math.round(result.ops).toLocaleString('en'),
    `±${result.margin} %`,
    `${(result.details.median * 1e6).toFixed(1)} µs`,
  ]);
  const figures = results.map(({ name: of, ops, margin, details }) => ({ name: of, ops, margin, medianSeconds: details.median }));
  return { title: name, columns: ['case', 'ops/s', 'margin', 'median'], rows, figures };
}
