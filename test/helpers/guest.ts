// SPDX-License-Identifier: Apache-2.0
// Runs a script of ours in a virtual machine with a stock Debian kernel, for what this machine's own kernel lacks: all
// capabilities, cgroup v2 alone, nbd. The kernel is fetched once (test/guest/README.md).
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

import { build } from 'esbuild';

import { run } from '../../src/exec/run.js';

const SUITE = 'bookworm-backports';
const FLAVOUR = 'amd64';
const SCRIPTS = join(import.meta.dirname, '../guest');

export interface GuestOptions {
  /** Runs it through this (test/guest/). */
  through?: 'real-root.sh';
  /** Kernel modules to load first. */
  modules: readonly string[];
  timeoutMs: number;
}

/** One file that node takes as it is: to load and to translate a hundred of them takes the guest most of a minute. */
async function bundle(script: string): Promise<string> {
  // Two levels below the top, as what it holds looks for the native build from where it is.
  const outfile = join('build/guest', `${basename(script, '.ts')}.mjs`);
  // What it holds of CommonJS calls require().
  const js = "import { createRequire as toRequire } from 'node:module'; const require = toRequire(import.meta.url);";
  const shape = { bundle: true, platform: 'node', format: 'esm', target: 'node20', banner: { js } } as const;
  await build({ entryPoints: [script], outfile, logLevel: 'warning', ...shape });
  return resolve(outfile);
}

/** Answers what the script (below test/) wrote on stdout. Emulated: some ten times slower than here. */
export async function runInGuest(script: string, options: GuestOptions): Promise<string> {
  const cache = join(process.env.PLOOP_TEST_CACHE ?? '/var/tmp/ploop-test-cache', 'guest');
  const kernel = join(cache, `${SUITE}-${FLAVOUR}`);
  await mkdir(cache, { recursive: true });
  if (!existsSync(join(kernel, '.done'))) await run(join(SCRIPTS, 'fetch.sh'), [cache, SUITE, FLAVOUR], { timeoutMs: 400_000 });
  const seconds = String(Math.ceil(options.timeoutMs / 1000));
  // One processor: it has one thread anyway (guest.sh), and is an eighth quicker.
  const guest = ['-k', kernel, '-c', '1', '-t', seconds, '-m', options.modules.join(','), '--'];
  const through = options.through === undefined ? [] : [join(SCRIPTS, options.through)];
  const node = [process.execPath, await bundle(script)];
  return (await run(join(SCRIPTS, 'guest.sh'), [...guest, ...through, ...node], { timeoutMs: options.timeoutMs + 60_000 })).stdout;
}
