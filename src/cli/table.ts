// SPDX-License-Identifier: Apache-2.0
// Columns of text, as wide as their longest cell; two spaces between them.

export interface Column {
  title: string;
  /** Numbers and sizes read better on the right. */
  right?: boolean;
}

export function table(columns: readonly Column[], rows: readonly (readonly string[])[], header = true): string {
  const all = (header ? [columns.map((column) => column.title), ...rows] : rows).map((row) => row.map(onOneLine));
  const widths = columns.map((_, at) => Math.max(...all.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]): string =>
    columns
      .map((column, at) => (column.right ? (row[at] ?? '').padStart(widths[at] ?? 0) : (row[at] ?? '').padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return all.map(line).join('\n');
}

/** What is in an image may come from elsewhere: no text of it breaks lines, or drives the terminal. */
export function onOneLine(cell: string): string {
  return cell.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** `name   value` lines, values aligned; those without a value are left out. */
export function renderFacts(facts: readonly (readonly [string, string | null])[]): string {
  const shown = facts.filter(([, value]) => value !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${value ?? ''}`).join('\n');
}
