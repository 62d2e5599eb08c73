// SPDX-License-Identifier: Apache-2.0
// The tables of docs/architecture.md against the includes and imports of the code.
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { trackedFiles } from './helpers/tree.js';

type Table = Map<string, ReadonlySet<string>>;

function readTable(heading: string): Table {
  const text = readFileSync('docs/architecture.md', 'utf8');
  const section = text.split(`## ${heading}`)[1]?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| (\w+) \| ([\w ]*)\| .+\|$/gm)].filter(([, name]) => name !== 'module' && name !== 'folder');
  return new Map(rows.map(([, name = '', uses = '']) => [name, new Set(uses.split(' ').filter((word) => word !== ''))]));
}

/** Uses of `from` that the table does not allow, as "file: a -> b". */
function violation(table: Table, file: string, from: string, to: string): string[] {
  const allowed = table.get(from);
  if (!allowed) return [`${file}: '${from}' is not in docs/architecture.md`];
  return from === to || allowed.has(to) ? [] : [`${file}: ${from} -> ${to}`];
}

function includesOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].map(([, path = '']) => path);
}

/** The module of an include: `layer` for "layer/layer.h" and, in csrc/layer, for "layer_int.h"; undefined for the public API. */
function includedModule(file: string, path: string, table: Table): string | undefined {
  if (path.startsWith('ploop/')) return undefined;
  const first = path.split('/')[0] ?? '';
  if (path.includes('/') && table.has(first)) return first;
  return normalize(join(dirname(file), path)).split('/')[1];
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map(([, path = '']) => normalize(join(dirname(file), path)));
}

const FREE_FILES = new Set(['src/errors.js', 'src/units.js']);

describe('docs/architecture.md', () => {
  const cTable = readTable('C modules');
  const tsTable = readTable('TypeScript folders');

  it('has both tables', () => {
    expect(cTable.size).toBeGreaterThan(8);
    expect(tsTable.size).toBeGreaterThan(5);
  });

  it.each([
    ['C', cTable],
    ['TypeScript', tsTable],
  ])('orders the %s table so that each row uses only rows above it', (_, table) => {
    const seen = new Set<string>();
    for (const [name, uses] of table) {
      for (const used of uses) expect(seen, `${name} uses ${used}`).toContain(used);
      seen.add(name);
    }
  });

  it('allows every #include between C modules', () => {
    const files = trackedFiles('csrc').filter((file) => /\.(c|cc|h)$/.test(file) && !file.startsWith('csrc/include/'));
    expect(files.length).toBeGreaterThan(5);
    const bad = files.flatMap((file) =>
      includesOf(file).flatMap((path) => {
        const to = includedModule(file, path, cTable);
        return to === undefined ? [] : violation(cTable, file, file.split('/')[1] ?? '', to);
      }),
    );
    expect(bad).toEqual([]);
  });

  it('allows every import between TypeScript folders', () => {
    const files = trackedFiles('src').filter((file) => file.endsWith('.ts') && file.split('/').length > 2);
    expect(files.length).toBeGreaterThan(5);
    const bad = files.flatMap((file) =>
      importsOf(file)
        .filter((path) => !FREE_FILES.has(path))
        .flatMap((path) => violation(tsTable, file, file.split('/')[1] ?? '', path.split('/')[1] ?? path)),
    );
    expect(bad).toEqual([]);
  });

  it('lets src/errors.ts and src/units.ts use nothing of the folders', () => {
    for (const file of ['src/errors.ts', 'src/units.ts']) expect(importsOf(file).filter((path) => !FREE_FILES.has(path))).toEqual([]);
  });
});
