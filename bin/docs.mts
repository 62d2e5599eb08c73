// SPDX-License-Identifier: Apache-2.0
// npm run docs: writes docs/man/*.8 and the README's command tables from the Program tables. With --check it only compares.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { renderCommandTable, renderManPage, replaceSection } from '../src/cli/manual.js';
import { loadPloop } from '../src/cli/ploop.js';
import { VERSION } from '../src/cli/program.js';
import { loadVzctl } from '../src/cli/vzctl.js';
import { vzlistProgram } from '../src/cli/vzlist.js';

const programs = [await loadPloop(), await loadVzctl(), vzlistProgram];

/** Path → what should be in it. */
export function generatedDocuments(): Map<string, string> {
  const documents = new Map(programs.map((program) => [`docs/man/${program.name}.8`, renderManPage(program, VERSION)]));
  const readme = programs.reduce(
    (text, program) => replaceSection(text, `${program.name} commands`, renderCommandTable(program)),
    readFileSync('README.md', 'utf8'),
  );
  return documents.set('README.md', readme);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Paths whose content is not what the tables say. */
export function staleDocuments(): string[] {
  return [...generatedDocuments()].filter(([path, text]) => read(path) !== text).map(([path]) => path);
}

if (process.argv[1]?.endsWith('docs.mts')) {
  const stale = staleDocuments();
  if (process.argv.includes('--check')) {
    for (const path of stale) process.stderr.write(`${path} is out of date; run: npm run docs\n`);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } else {
    mkdirSync('docs/man', { recursive: true });
    const documents = generatedDocuments();
    for (const path of stale) writeFileSync(path, documents.get(path) ?? '');
    process.stdout.write(`${stale.length} written\n`);
  }
}
