// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

import { startCompanion } from '../../src/exec/companion.js';
import { findProgram } from '../../src/exec/find.js';

describe('a companion', () => {
  it('is read line by line and ends when its stdin is closed', async () => {
    const companion = await startCompanion('sh', ['-c', 'echo one; echo two; cat >/dev/null; exit 3']);
    expect(await companion.nextLine()).toBe('one');
    expect(await companion.nextLine()).toBe('two');
    expect(await companion.finish()).toMatchObject({ exitCode: 3 });
    expect(await companion.finish()).toMatchObject({ exitCode: 3 });
  });

  it('that ends before it said anything is a failure with its own words', async () => {
    const companion = await startCompanion('sh', ['-c', 'echo cannot >&2; exit 1']);
    await expect(companion.nextLine()).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringMatching(/status 1: cannot$/) as string,
    });
  });

  it('that is not installed is TOOL_MISSING', async () => {
    await expect(startCompanion('ploop-no-such-program', [])).rejects.toMatchObject({ code: 'TOOL_MISSING' });
  });

  it('learns of the death of its parent, even by SIGKILL, because its stdin closes', () => {
    const script = `
      import { startCompanion } from './src/exec/companion.ts';
      const companion = await startCompanion('sh', ['-c', 'echo ready; cat; echo gone > "$1"', 'sh', process.argv[1]]);
      await companion.nextLine();
      process.kill(process.pid, 'SIGKILL');`;
    const witness = `/tmp/ploop-companion-${process.pid}`;
    try {
      execFileSync('npx', ['tsx', '--input-type=module', '-e', script, witness], { stdio: 'ignore' });
    } catch {
      // Killed, as it should be.
    }
    execFileSync('sh', ['-c', `for i in 1 2 3 4 5 6 7 8 9 10; do [ -e ${witness} ] && exec rm ${witness}; sleep 0.2; done; exit 1`]);
  });
});

describe('findProgram', () => {
  it('answers the path of a program', async () => {
    expect(await findProgram('sh')).toMatch(/\/sh$/);
  });

  it('refuses what is missing with the apt line', async () => {
    await expect(findProgram('/nonexistent/mkfs.xfs')).rejects.toMatchObject({ code: 'TOOL_MISSING' });
    await expect(findProgram('no-such-tool')).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      hint: expect.stringContaining('PATH') as string,
    });
  });
});
