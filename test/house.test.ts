// SPDX-License-Identifier: Apache-2.0
// House rules that a machine can check: licence lines, file lengths, places, links.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { trackedFiles } from './helpers/tree.js';

const files = trackedFiles();
const isCode = (file: string): boolean => /\.(c|cc|h|def|ts|mts|mjs|js)$/.test(file) || /^(CMakeLists\.txt|\.ci\/run)$/.test(file);

function linesOf(file: string): string[] {
  return readFileSync(file, 'utf8').replace(/\n$/, '').split('\n');
}

/** Files that may be longer, each with its reason. */
const LONGER: Readonly<Record<string, string>> = {};

function limitOf(file: string): number {
  if (file.startsWith('test/') && file.endsWith('.ts')) return 200;
  if (/^src\/.*\.ts$/.test(file)) return 250;
  return /^csrc\/.*\.(c|cc|h)$/.test(file) ? 500 : Infinity;
}

describe('every source file', () => {
  it('says its licence in the first two lines', () => {
    const bad = files.filter(
      (file) =>
        isCode(file) &&
        !linesOf(file)
          .slice(0, 2)
          .some((line) => line.includes('SPDX-License-Identifier: Apache-2.0')),
    );
    expect(bad).toEqual([]);
  });

  it('stays within the length of its kind: C 500, TypeScript 250, tests 200 lines', () => {
    const bad = files
      .filter((file) => linesOf(file).length > (LONGER[file] === undefined ? limitOf(file) : Infinity))
      .map((file) => `${file}: ${linesOf(file).length}`);
    expect(bad).toEqual([]);
  });

  it('ends with one newline and has no blanks at the end of a line', () => {
    const bad = files.filter(
      (file) => isCode(file) && (/[ \t]+$/m.test(readFileSync(file, 'utf8')) || !/[^\n]\n$/.test(readFileSync(file, 'utf8'))),
    );
    expect(bad).toEqual([]);
  });

  it('names a machine path or a place of its author nowhere', () => {
    const bad = files
      .filter((file) => isCode(file) || file.endsWith('.md'))
      .filter((file) => /(^|[^\w.])\/(work|home)\/\w/m.test(readFileSync(file, 'utf8')));
    expect(bad).toEqual([]);
  });
});

describe('the layout', () => {
  it('keeps the root short', () => {
    const root = files.filter((file) => !file.includes('/') && !file.startsWith('.'));
    expect(root.length).toBeLessThanOrEqual(12);
  });

  it('has no folder named utils, common or helpers, except test/helpers', () => {
    const bad = files.filter((file) => /(^|\/)(utils?|common|helpers)\//.test(file) && !file.startsWith('test/helpers/'));
    expect(bad).toEqual([]);
  });

  it('makes only programs executable', () => {
    const bad = files.filter((file) => isCode(file) && (statSync(file).mode & 0o100) !== 0 && !readFileSync(file, 'utf8').startsWith('#!'));
    expect(bad).toEqual([]);
  });
});

describe('documents', () => {
  it('link only to what is there', () => {
    const bad = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) =>
        [...readFileSync(file, 'utf8').matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)]
          .filter(([, path = '']) => !existsSync(join(dirname(file), path)))
          .map(([, path = '']) => `${file}: ${path}`),
      );
    expect(bad).toEqual([]);
  });
});
