// SPDX-License-Identifier: Apache-2.0
// Runs a script of ours in a virtual machine with a stock Debian kernel, for what this machine's own kernel lacks: all
// capabilities, cgroup v2 alone. PLOOP_GUEST_DIR names the folder of guest.sh and fetch.sh; the kernel is fetched once.
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';

const SUITE = 'bookworm-backports';
const FLAVOUR = 'amd64';

export interface GuestOptions {
  args?: readonly string[];
  /** Kernel modules to load first. */
  modules: readonly string[];
  timeoutMs: number;
}

/** Answers what the script (below test/, run through tsx) wrote on stdout. Emulated: some ten times slower than here. */
export async function runInGuest(script: string, options: GuestOptions): Promise<string> {
  const directory = process.env.PLOOP_GUEST_DIR ?? '';
  const cache = join(process.env.PLOOP_TEST_CACHE ?? '/var/tmp/ploop-test-cache', 'guest');
  const kernel = join(cache, `${SUITE}-${FLAVOUR}`);
  await mkdir(cache, { recursive: true });
  if (!existsSync(kernel) || (await readdir(kernel)).length === 0)
    await run(join(directory, 'fetch.sh'), [cache, SUITE, FLAVOUR], { timeoutMs: 400_000 });
  const seconds = String(Math.ceil(options.timeoutMs / 1000));
  const guest = ['-k', kernel, '-t', seconds, '-m', options.modules.join(','), '--'];
  const node = [process.execPath, '--import', 'tsx', join(process.cwd(), script), ...(options.args ?? [])];
  return (await run(join(directory, 'guest.sh'), [...guest, ...node], { timeoutMs: options.timeoutMs + 60_000 })).stdout;
}
