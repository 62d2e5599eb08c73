// SPDX-License-Identifier: Apache-2.0
// What a command loads before it does anything: most of what short commands take is that.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { loadPloop } from '../../src/cli/ploop.js';
import { loadVzctl } from '../../src/cli/vzctl.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';

const HOOK = `
import { appendFileSync } from 'node:fs';
export async function load(url, context, next) {
  appendFileSync(process.env.LOADED, url + '\\n');
  return next(url, context);
}`;

describe('starting a command', () => {
  let scratch: Scratch;

  beforeEach(async () => {
    scratch = await makeScratch();
  });
  afterEach(() => scratch.clean());

  /** Addresses of all modules but Node's own that a run of bin/ploop.js loads. */
  const modulesOf = (...args: string[]): string[] => {
    const [hook, register, list] = [scratch.path('hook.mjs'), scratch.path('register.mjs'), scratch.path('loaded')];
    writeFileSync(hook, HOOK);
    writeFileSync(register, `import { register } from 'node:module';\nregister(${JSON.stringify(`file://${hook}`)});\n`);
    const program = join(import.meta.dirname, '../../bin/ploop.js');
    const done = spawnSync(process.execPath, ['--import', register, program, ...args], { env: { ...process.env, LOADED: list } });
    expect(done.status).toBe(0);
    return readFileSync(list, 'utf8')
      .split('\n')
      .filter((url) => url.startsWith('file:'));
  };

  it('loads that command and none of the others, and no library for children that it does not start', () => {
    const loaded = modulesOf('clone', '--help');
    expect(loaded.filter((url) => url.includes('/execa/'))).toEqual([]);
    expect(loaded.filter((url) => url.includes('/cli/ploop/')).map((url) => url.replace(/.*\//, ''))).toEqual(
      expect.arrayContaining(['clone.js']),
    );
    expect(loaded.some((url) => url.endsWith('/cli/ploop/mount.js'))).toBe(false);
    expect(loaded.length).toBeGreaterThan(10);
    expect(loaded.length).toBeLessThan(70);
  });

  it('knows the others all the same: by alias, in help, for what is misspelt', () => {
    expect(modulesOf('init', '--help').length).toBeGreaterThan(70);
    expect(modulesOf('help').length).toBeGreaterThan(70);
  });

  it.each([
    ['ploop', loadPloop],
    ['vzctl', loadVzctl],
  ])('lists each command of %s under its name', async (_name, load) => {
    const { commands = [] } = await load();
    expect(commands.length).toBeGreaterThan(10);
    for (const { name } of commands) expect((await load(name)).commands?.map((command) => command.name)).toEqual([name]);
  });
});
