#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm test`: C tests under the sanitizers, then vitest (unit, then end-to-end, with the guest kernel beside both), then what was left
// behind and the kernel log.
//
//   npm test -- [c] [unit] [e2e] [guest]   only these; default all
//
// Writes build/test-summary.json and ends with the line `N passed, N failed[, N skipped]`; exit status 0 only when something
// ran and nothing failed. All temporary files live in one directory, which has to be free of mounts, loop devices and
// processes at the end.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const PARTS = ['c', 'unit', 'e2e', 'guest'];
/** What the kernel says when it has caught a defect of its own, or a ploopd at a system call that is not on its list; tests that kill a daemon make file systems complain rightly. */
const KERNEL_ALARM = /\bBUG: |\bWARNING: |\bOops: |general protection fault|blocked for more than|soft lockup|type=1326 .*comm="ploopd-/;

/** A part that takes longer hangs; what it has not reported by then counts as one failure. */
const PART_LIMIT_MS = 25 * 60_000;

/** For what ends by itself behind the tests. */
const LAST_MS = 10_000;

const GUEST_TESTS = 'test/e2e/guest-';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const chosen = process.argv.slice(2);
const parts = chosen.length === 0 ? PARTS : chosen;
const unknown = parts.find((part) => !PARTS.includes(part));
if (unknown !== undefined) {
  process.stderr.write(`test: '${unknown}' is not one of ${PARTS.join(', ')}\n`);
  process.exit(2);
}

// Short, because paths of unix sockets end at 107 bytes; in /var/tmp, because /tmp may be a tmpfs without direct I/O.
const tmp = mkdtempSync('/var/tmp/p.');
const env = { ...process.env, TMPDIR: tmp };

function run(program, args, options = {}) {
  return spawnSync(program, args, { cwd: root, stdio: 'inherit', env, timeout: PART_LIMIT_MS, ...options });
}

/** Says how long a part took. */
function timed(name, work) {
  const began = Date.now();
  const counts = work();
  seconds[name] = Math.round((Date.now() - began) / 1000);
  return counts;
}

function none() {
  return { passed: 0, failed: 0, skipped: 0 };
}

/** Counts the TAP lines of every program; one that failed without saying which test counts as one failure. */
function countJunit(file) {
  const counts = none();
  for (const [, attributes, body] of readFileSync(file, 'utf8').matchAll(/<testcase ([^>]*)>([\s\S]*?)<\/testcase>/g)) {
    const lines = body.match(/^.*?(?:not )?ok \d+ - .*$/gm) ?? [];
    const bad = lines.filter((line) => /not ok \d/.test(line)).length;
    const skipped = lines.filter((line) => !/not ok \d/.test(line) && line.includes('# SKIP')).length;
    const failed = /status="fail"/.test(attributes) && bad === 0 ? 1 : bad;
    counts.passed += lines.length - bad - skipped;
    counts.failed += failed;
    counts.skipped += skipped;
  }
  return counts;
}

function runC() {
  const built =
    run('cmake', ['--preset', 'asan', '--log-level=WARNING']).status === 0 && run('cmake', ['--build', '--preset', 'asan']).status === 0;
  if (!built) return { passed: 0, failed: 1, skipped: 0 };
  const report = join(root, 'build/asan/junit.xml');
  rmSync(report, { force: true });
  const size = ['--test-output-size-passed', '4000000', '--test-output-size-failed', '4000000'];
  const done = run('ctest', ['--preset', 'asan', '-j', '2', '--output-junit', report, ...size]);
  const counts = existsSync(report) ? countJunit(report) : none();
  if (done.status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** The vitest run of a part: what it takes, and where it reports. */
function vitest(part, ...filters) {
  const report = join(root, `build/vitest-${part}.json`);
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  return { program: join(root, 'node_modules/.bin/vitest'), args: ['run', ...filters, ...reporters], report };
}

function countVitest(report, exitStatus) {
  const counts = none();
  if (existsSync(report)) {
    const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
    for (const { assertionResults, status } of testResults) {
      for (const { status: one } of assertionResults) counts[one === 'passed' ? 'passed' : one === 'failed' ? 'failed' : 'skipped']++;
      if (status === 'failed' && !assertionResults.some((result) => result.status === 'failed')) counts.failed++;
    }
  }
  if (exitStatus !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

function runVitest(part, ...filters) {
  const { program, args, report } = vitest(part, ...filters);
  return countVitest(report, run(program, args).status);
}

/** The guest kernel spends most of its time waiting for one core, so it goes beside other tests; its output is shown at the end. */
function startGuest() {
  const { program, args, report } = vitest('guest', '--project', 'e2e', '--no-file-parallelism', GUEST_TESTS);
  const log = join(root, 'build/vitest-guest.log');
  const out = openSync(log, 'w');
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', out, out], env, timeout: PART_LIMIT_MS });
  closeSync(out);
  const ended = once(child, 'exit');
  return async () => {
    const [status] = await ended;
    process.stdout.write(readFileSync(log, 'utf8'));
    return countVitest(report, status);
  };
}

function kernelLog() {
  const done = spawnSync('dmesg', [], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return done.status === 0 ? done.stdout.split('\n') : [];
}

function readOr(read) {
  try {
    return read();
  } catch {
    return '';
  }
}

/** Mounts, loop devices and processes that still use the run's temporary directory. */
function leftBehind() {
  const found = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const point = line.split(' ')[4] ?? '';
    if (point.startsWith(`${tmp}/`)) found.push(`mount ${point}`);
  }
  for (const name of readOr(() => readdirSync('/sys/block')) || []) {
    const file = readOr(() => readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8')).trim();
    if (file.startsWith(`${tmp}/`)) found.push(`loop device /dev/${name} on ${file}`);
  }
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    const words = readOr(() => readFileSync(`/proc/${pid}/environ`, 'latin1')).split('\0');
    if (words.includes(`TMPDIR=${tmp}`))
      found.push(
        `process ${pid} ${readOr(() => readlinkSync(`/proc/${pid}/exe`))} (${readOr(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
          .replaceAll('\0', ' ')
          .trim()})`,
      );
  }
  return found;
}

/** What a killed command had started ends by itself. */
async function leftAfterAMoment() {
  for (const end = Date.now() + LAST_MS; Date.now() < end; await sleep(200)) if (leftBehind().length === 0) return [];
  return leftBehind();
}

mkdirSync(join(root, 'build'), { recursive: true });
const logBefore = kernelLog();
const results = {};
const seconds = {};
if (parts.includes('c')) results['C (ASan, UBSan)'] = timed('C (ASan, UBSan)', runC);
const guest = parts.includes('guest') ? startGuest() : undefined;
if (parts.includes('unit')) results['TypeScript unit'] = timed('TypeScript unit', () => runVitest('unit', '--project', 'unit'));
if (parts.includes('e2e'))
  results['end-to-end'] = timed('end-to-end', () => runVitest('e2e', '--project', 'e2e', '--exclude', `${GUEST_TESTS}*`));
if (guest !== undefined) results['in a guest kernel'] = await guest();

const left = await leftAfterAMoment();
const logNow = kernelLog();
const alarms = logNow.slice(logNow.lastIndexOf(logBefore.at(-2)) + 1).filter((line) => KERNEL_ALARM.test(line));
results['left behind'] = { passed: 0, failed: left.length, skipped: 0 };
results['kernel log'] = { passed: 0, failed: alarms.length, skipped: 0 };
if (left.length === 0) rmSync(tmp, { recursive: true, force: true });

const total = none();
process.stdout.write('\n');
for (const [name, counts] of Object.entries(results)) {
  for (const key of Object.keys(total)) total[key] += counts[key];
  if (counts.passed + counts.failed + counts.skipped > 0)
    process.stdout.write(
      `${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped${name in seconds ? `, ${seconds[name]} s` : ''}\n`,
    );
}
for (const line of [...left.map((what) => `left behind: ${what}`), ...alarms.map((what) => `kernel log: ${what}`)])
  process.stdout.write(`${line}\n`);
const line = `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`;
writeFileSync(join(root, 'build/test-summary.json'), `${JSON.stringify({ ...total, line, results, seconds }, null, 2)}\n`);
process.stdout.write(`${line}\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
