// SPDX-License-Identifier: Apache-2.0
// Which of the names there are somebody may have meant.

const MOST = 3;

/** Names that begin alike, contain the word, or differ in few letters; the likeliest first. */
export function nearMisses(word: string, names: readonly string[]): string[] {
  const wanted = word.toLowerCase();
  const scored = names.map((name) => ({ name, score: distance(wanted, name.toLowerCase()) }));
  return scored
    .filter(({ score }) => score <= Math.max(1, Math.floor(wanted.length / 3)))
    .sort((a, b) => a.score - b.score || a.name.localeCompare(b.name))
    .slice(0, MOST)
    .map(({ name }) => name);
}

function distance(word: string, name: string): number {
  if (word.length > 1 && (name.startsWith(word) || word.startsWith(name))) return 0;
  return word.length > 2 && name.includes(word) ? 1 : edits(word, name);
}

/** Levenshtein: insertions, deletions and replacements that turn one word into the other. */
function edits(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...from].entries()) {
    const next = [line + 1];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (to[column - 1] === letter ? 0 : 1);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
