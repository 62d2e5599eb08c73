// SPDX-License-Identifier: Apache-2.0
// The table of what the smear that is left consists of.
import type { Report } from '../report.js';
import type { Owners } from './owners.js';

const COLUMNS: readonly (readonly [keyof Owners, string])[] = [
  ['files', 'df counts'],
  ['journal', 'journal'],
  ['tables', 'tables'],
  ['freeBesideJournal', 'free beside the journal'],
  ['freeBesideTables', 'beside tables'],
  ['freeBesideDirectories', 'beside directories'],
  ['freeBesideFiles', 'beside files'],
  ['freeAlone', 'not trimmed yet'],
  ['image', 'the image itself'],
];

export function ownersReport(outcomes: readonly { name: string; owners: readonly Owners[] }[]): Report {
  return {
    title: 'Space: whose it is after everything, in MiB',
    columns: ['image', 'round', ...COLUMNS.map(([, name]) => name)],
    rows: outcomes.flatMap(({ name, owners }) =>
      owners.map((one, round) => [name, String(round + 1), ...COLUMNS.map(([key]) => (one[key] / 2 ** 20).toFixed(1))]),
    ),
    notes: [
      'Seen a moment after the figures above, while the database went on: the journal fills again. "The image itself" takes up the difference.',
    ],
  };
}
