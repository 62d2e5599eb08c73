// SPDX-License-Identifier: Apache-2.0
// npm run bench [-- name…]: runs bench/<name>.bench.ts and prints a table each. Needs root: they attach images.
import { readdirSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { type Report, renderReport } from './report.js';

const known = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.replace('.bench.ts', ''));
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known;
const unknown = wanted.find((name) => !known.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`bench: '${unknown}' is not one of ${known.join(', ')}\n`);
  process.exit(2);
}

process.stdout.write(
  `Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.versions.node}\n\n`,
);
for (const name of wanted) {
  const { bench } = (await import(`./${name}.bench.ts`)) as { bench: () => Promise<Report> };
  process.stdout.write(`${renderReport(await bench())}\n`);
}
