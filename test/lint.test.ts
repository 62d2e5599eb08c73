// SPDX-License-Identifier: Apache-2.0
// What `npm run lint` checks, so that a test run and the linters cannot disagree.
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

function findings(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  if (error) throw error;
  return status === 0 ? '' : `${stdout}${stderr}`;
}

describe('lint', { timeout: 60_000 }, () => {
  it('oxlint finds nothing', () => {
    expect(findings('node_modules/.bin/oxlint', ['--deny-warnings', '.'])).toBe('');
  });

  it('prettier would change nothing', () => {
    expect(findings('node_modules/.bin/prettier', ['--check', 'src', 'test', 'bin', 'bench', '*.{json,ts}', '.*.json'])).toBe('');
  });

  it('knip finds no unused file, export or dependency', () => {
    expect(findings('node_modules/.bin/knip', ['--no-progress'])).toBe('');
  });

  it('TypeScript accepts sources, tests and benchmarks', () => {
    expect(findings('node_modules/.bin/tsc', ['-p', 'tsconfig.json', '--noEmit'])).toBe('');
  });
});
