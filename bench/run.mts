// SPDX-License-Identifier: Apache-2.0
// npm run bench [-- name…]: runs bench/<name>.bench.ts, prints its tables and writes all figures as JSON. Needs root: they attach images.
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { run } from '../src/exec/run.js';
import { type BenchOptions, choose, readCommand, USAGE, type BenchCommand } from './options.js';
import { type Report, renderReport } from './report.js';

interface Module {
  bench(options: BenchOptions): Promise<Report | Report[]>;
  NAMES?: readonly string[];
}

async function machine(): Promise<Record<string, string | number>> {
  const { stdout } = await run('findmnt', ['--noheadings', '--output', 'FSTYPE,SOURCE', '--target', '/var/tmp']);
  return {
    kernel: release(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    hostFileSystem: stdout.trim().split(/\s+/).join(' on '),
    node: process.versions.node,
    date: new Date().toISOString(),
  };
}

function commandOf(known: readonly string[]): BenchCommand {
  try {
    return readCommand(process.argv.slice(2), known);
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exit(2);
  }
}

const files = await readdir(import.meta.dirname);
const known = files.filter((file) => file.endsWith('.bench.ts')).map((file) => file.replace('.bench.ts', ''));
const { names, options } = commandOf(known);
const modules = new Map<string, Module>();
for (const name of names) modules.set(name, (await import(`./${name}.bench.ts`)) as Module);
const where = await machine();
const results: Record<string, Report[]> = {};

try {
  const parts = names.map((name) => ({ bench: name, names: modules.get(name)?.NAMES ?? [] }));
  const chosen = choose(parts, options.only);
  process.stdout.write(`${Object.values(where).join(', ')}; ${options.rounds} rounds of ${options.seconds} s\n\n`);
  for (const { bench: name, only } of chosen) {
    const reports = [await modules.get(name)?.bench({ ...options, only })].flat().filter((report) => report !== undefined);
    results[name] = reports;
    process.stdout.write(`${reports.map(renderReport).join('\n')}\n`);
    await mkdir(dirname(options.json), { recursive: true });
    await writeFile(options.json, `${JSON.stringify({ machine: where, options, results }, null, 1)}\n`);
  }
  process.stderr.write(`bench: figures are in ${options.json}\n`);
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
