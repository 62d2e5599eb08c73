// SPDX-License-Identifier: Apache-2.0
// The C tests rely on test/c/tap.h: what it prints and how its programs exit.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder = '';
let compiled = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tap-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function runTests(body: string, required = ''): { status: number | null; stdout: string } {
  const program = join(folder, `program-${compiled++}`);
  writeFileSync(`${program}.c`, `#include "tap.h"\n${body}\nint main(void)\n{\n\treturn pl_tap_main();\n}\n`);
  execFileSync('cc', ['-D_GNU_SOURCE', '-Itest/c', '-Wall', '-Wextra', '-Werror', '-o', program, `${program}.c`]);
  const { status, stdout } = spawnSync(program, { encoding: 'utf8', env: { PLOOP_REQUIRE: required } });
  return { status, stdout };
}

const skips = 'pl_test("needs root") { skip("root: needs to mount"); }';

describe('tap.h', () => {
  it('passes when every check holds', () => {
    expect(runTests('pl_test("adds") { is_int(1 + 1, 2); is_str("a", "a"); ok(1); }')).toEqual({
      status: 0,
      stdout: 'ok 1 - adds\n1..1\n',
    });
  });

  it('fails, says where and what, and goes on after a failed check', () => {
    const { status, stdout } = runTests('pl_test("adds") { is_int(1 + 1, 3); is_str("a", NULL); }\npl_test("next") { ok(1); }');
    expect(status).toBe(1);
    expect(stdout).toContain('# 1 + 1 is 2, expected 3');
    expect(stdout).toContain('# "a" is "a", expected "(null)"');
    expect(stdout).toMatch(/# .*program-\d+\.c:2: failed/);
    expect(stdout).toMatch(/not ok 1 - adds\nok 2 - next\n1\.\.2\n$/);
  });

  it('leaves a test at a failed require()', () => {
    const { stdout } = runTests('pl_test("stops") { require(0); printf("behind\\n"); }');
    expect(stdout).not.toContain('behind');
    expect(stdout).toContain('not ok 1');
  });

  it('exits with 77 when every test was skipped', () => {
    expect(runTests(skips)).toEqual({ status: 77, stdout: 'ok 1 - needs root # SKIP root: needs to mount\n1..1\n' });
    expect(runTests(`${skips}\npl_test("runs") { ok(1); }`).status).toBe(0);
  });

  it('takes a skip for a failure when PLOOP_REQUIRE names its first word', () => {
    expect(runTests(skips, 'fuse,root')).toMatchObject({ status: 1, stdout: expect.stringContaining('not ok 1 - needs root\n') as string });
    expect(runTests(skips, 'fuse,rooted').status).toBe(77);
  });
});
