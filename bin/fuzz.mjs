#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Runs one fuzz target (docs/testing.md):
//
//   npm run fuzz -- TARGET [SECONDS]   builds it with clang and runs it, default 60 seconds; exit status 1 when it found something
//   npm run fuzz -- --merge TARGET     takes what was found new into test/fuzz/corpus/TARGET, made as small as it goes
//   npm run fuzz -- --list             the targets
//
// What the runs discover is kept in build/fuzz/corpus, findings go to build/fuzz/findings.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The longest input worth trying, where it is not 4096 bytes. */
const MAX_LEN = { header: 8195, journal: 1024, layer: 512, control: 70_000, nbd: 70_000, stream: 16_384 };
const LIMITS = ['-malloc_limit_mb=256', '-rss_limit_mb=1024', '-timeout=10'];
const CORPUS_FILES = 200;
const CORPUS_BYTES = 300 * 1024;

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));
const targets = readdirSync('test/fuzz')
  .filter((name) => name.endsWith('_fuzz.c'))
  .map((name) => name.slice(0, -'_fuzz.c'.length))
  .toSorted();

function fail(message, status = 2) {
  process.stderr.write(`fuzz: ${message}\n`);
  process.exit(status);
}

function build() {
  if (spawnSync('clang-14', ['--version']).error) fail('clang is missing: apt-get install clang-14 libclang-rt-14-dev');
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
  for (const args of [
    ['--preset', 'fuzz', '--log-level=WARNING'],
    ['--build', '--preset', 'fuzz'],
  ])
    if (spawnSync('cmake', args, quiet).status !== 0) fail('the build failed: cmake --preset fuzz && cmake --build --preset fuzz');
}

function filesOf(directory) {
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
}

function optionsOf(target) {
  const dictionary = `test/fuzz/${target}.dict`;
  return [...LIMITS, `-max_len=${MAX_LEN[target] ?? 4096}`, ...(existsSync(dictionary) ? [`-dict=${dictionary}`] : [])];
}

/** Runs the target, passing its output on; resolves to its last lines and its exit status. */
function execute(target, args) {
  const child = spawn(`build/fuzz/Release/${target}_fuzz`, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    process.stderr.write(chunk);
    text = (text + chunk).slice(-200_000);
  });
  return new Promise((resolve) => child.on('close', (status) => resolve({ text, status })));
}

async function fuzz(target, seconds) {
  const [kept, found] = [`build/fuzz/corpus/${target}`, `build/fuzz/findings/${target}`];
  for (const directory of [kept, found]) mkdirSync(directory, { recursive: true });
  const before = new Set(filesOf(found));
  const seeds = [`test/fuzz/corpus/${target}`, `test/fuzz/regression/${target}`].filter((directory) => existsSync(directory));
  const { text, status } = await execute(target, [
    ...optionsOf(target),
    `-max_total_time=${seconds}`,
    '-print_final_stats=1',
    `-artifact_prefix=${found}/`,
    kept,
    ...seeds,
  ]);
  const stat = (name) => new RegExp(`stat::${name}: +(\\d+)`).exec(text)?.[1] ?? '?';
  const coverage = [...text.matchAll(/cov: (\d+) ft: (\d+) corp: (\d+)/g)].at(-1) ?? [];
  const fresh = filesOf(found).filter((file) => !before.has(file));
  process.stdout.write(
    `${target}: ${stat('number_of_executed_units')} executions (${stat('average_exec_per_sec')}/s), ` +
      `coverage ${coverage[1] ?? '?'} edges, ${coverage[2] ?? '?'} features, ${coverage[3] ?? '?'} inputs kept, ` +
      `peak ${stat('peak_rss_mb')} MiB, findings ${fresh.length}\n`,
  );
  for (const file of fresh) process.stdout.write(`  ${file}: build/fuzz/Release/${target}_fuzz ${file}\n`);
  process.exitCode = fresh.length > 0 || status !== 0 ? 1 : 0;
}

async function merge(target) {
  const [committed, kept, next] = [`test/fuzz/corpus/${target}`, `build/fuzz/corpus/${target}`, `build/fuzz/merged/${target}`];
  rmSync(next, { recursive: true, force: true });
  for (const directory of [kept, next]) mkdirSync(directory, { recursive: true });
  const { status } = await execute(target, ['-merge=1', ...optionsOf(target), next, committed, kept]);
  if (status !== 0) fail('the merge failed', 1);
  // Too many: some of every size, since short inputs alone reach little.
  const files = filesOf(next)
    .map((file) => ({ file, bytes: statSync(file).size }))
    .toSorted((a, b) => a.bytes - b.bytes);
  const step = Math.max(1, files.length / (CORPUS_FILES - 1));
  let total = 0;
  const chosen = files
    .filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step))
    .filter(({ bytes }) => (total += bytes) < CORPUS_BYTES);
  rmSync(`${committed}.old`, { recursive: true, force: true });
  renameSync(committed, `${committed}.old`);
  mkdirSync(committed);
  for (const { file } of chosen) cpSync(file, join(committed, file.slice(next.length + 1)));
  rmSync(`${committed}.old`, { recursive: true });
  process.stdout.write(`${target}: ${chosen.length} of ${files.length} inputs are in ${committed}\n`);
}

const [first, second] = process.argv.slice(2);
const target = first === '--merge' ? second : first;
if (first === '--list') {
  process.stdout.write(`${targets.join('\n')}\n`);
} else if (target === undefined || !targets.includes(target)) {
  fail(`${target === undefined ? 'which target' : `'${target}' is not a target`}: one of ${targets.join(', ')}`);
} else if (first === '--merge') {
  build();
  await merge(target);
} else {
  const seconds = Number(second ?? 60);
  if (!Number.isInteger(seconds) || seconds < 1) fail(`'${second}' is not a number of seconds`);
  build();
  await fuzz(target, seconds);
}
