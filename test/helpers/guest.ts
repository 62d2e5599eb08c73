// SPDX-License-Identifier: Apache-2.0
// Runs a script of ours in a virtual machine with a stock Debian kernel, for what this machine's own kernel lacks: all
// capabilities, cgroup v2 alone, nbd. The kernel is fetched once (test/guest/README.md).
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';

const SUITE = 'bookworm-backports';
const FLAVOUR = 'amd64';
const SCRIPTS = join(import.meta.dirname, '../guest');

export interface GuestOptions {
  args?: readonly string[];
  /** Kernel modules to load first. */
  modules: readonly string[];
  timeoutMs: number;
}

/** Answers what the script (below test/, run through tsx) wrote on stdout. Emulated: some ten times slower than here. */
export async function runInGuest(script: string, options: GuestOptions): Promise<string> {
  const cache = join(process.env.PLOOP_TEST_CACHE ?? '/var/tmp/ploop-test-cache', 'guest');
  const kernel = join(cache, `${SUITE}-${FLAVOUR}`);
  await mkdir(cache, { recursive: true });
  if (!existsSync(join(kernel, '.done'))) await run(join(SCRIPTS, 'fetch.sh'), [cache, SUITE, FLAVOUR], { timeoutMs: 400_000 });
  const seconds = String(Math.ceil(options.timeoutMs / 1000));
  const guest = ['-k', kernel, '-t', seconds, '-m', options.modules.join(','), '--'];
  const node = [process.execPath, '--import', 'tsx', join(process.cwd(), script), ...(options.args ?? [])];
  return (await run(join(SCRIPTS, 'guest.sh'), [...guest, ...node], { timeoutMs: options.timeoutMs + 60_000 })).stdout;
}
