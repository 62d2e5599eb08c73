// SPDX-License-Identifier: Apache-2.0
// A Debian root file system as a tarball, made by mmdebstrap from the archive that this machine's apt is configured for,
// and kept for the next run.
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';

/** `include`: packages beyond the minimal ones. Answers the tarball's path. */
export async function debianTemplate(name: string, include: readonly string[] = []): Promise<string> {
  const cache = process.env['PLOOP_TEST_CACHE'] ?? '/var/tmp/ploop-test-cache';
  const path = join(cache, `debian-bookworm-${name}.tar`);
  if ((await stat(path).catch(() => null)) !== null) return path;
  await mkdir(cache, { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  try {
    const packages = include.length === 0 ? [] : [`--include=${include.join(',')}`];
    await run('mmdebstrap', ['--format=tar', '--variant=minbase', ...packages, 'bookworm', partial], { timeoutMs: 400_000 });
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
  return path;
}
