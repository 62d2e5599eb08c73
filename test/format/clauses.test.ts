// SPDX-License-Identifier: Apache-2.0
// The clauses of docs/format.md and docs/stream.md: each has one id, each id is cited by the title of a test, and no test or comment cites another.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { trackedFiles } from '../helpers/tree.js';

/** The pages whose clauses bind, with the prefix of their ids and how many there are at least. */
const DOCUMENTS = [
  ['docs/format.md', 'FMT', 80],
  ['docs/stream.md', 'STR', 20],
] as const;

/** pl_test("title" "of several parts") and it('title', ...), it.each(...)('title', ...). */
function titles(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const pattern = file.endsWith('.c') ? /pl_test\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)/g : /\bit(?:\.\w+\([^)]*\))?\(\s*(['`].*?['`]),/g;
  return [...text.matchAll(pattern)].map(([, title = '']) => title);
}

const testFiles = trackedFiles('test').filter((file) => /(_test\.c|\.test\.ts)$/.test(file));
const allTitles = testFiles.flatMap(titles);

describe.each(DOCUMENTS)('%s', (path, prefix, least) => {
  const document = readFileSync(path, 'utf8');
  const clauses = [...document.matchAll(new RegExp(`^- \\*\\*(${prefix}-\\d{3})\\*\\* `, 'gm'))].map(([, id = '']) => id);
  const citedIn = (text: string): string[] => [...text.matchAll(new RegExp(`${prefix}-\\d{3}`, 'g'))].map(([id]) => id);
  const cited = new Set(allTitles.flatMap(citedIn));

  it('has its clauses in order, each once', () => {
    expect(clauses.length).toBeGreaterThan(least);
    expect(clauses).toEqual([...new Set(clauses)].toSorted());
  });

  it('names no clause that it does not have', () => {
    const named = citedIn(document.replaceAll(new RegExp(`${prefix}-\\d{3}(?= ff\\.)`, 'g'), ''));
    expect(named.filter((id) => !clauses.includes(id))).toEqual([]);
  });

  it('has a test for every clause', () => {
    expect(clauses.filter((id) => !cited.has(id))).toEqual([]);
  });

  it('has every clause that a test cites', () => {
    expect([...cited].filter((id) => !clauses.includes(id))).toEqual([]);
  });

  it('has every clause that the code cites', () => {
    const bad = trackedFiles('csrc', 'src').flatMap((file) =>
      citedIn(readFileSync(file, 'utf8'))
        .filter((id) => !clauses.includes(id))
        .map((id) => `${file}: ${id}`),
    );
    expect(bad).toEqual([]);
  });
});
