// SPDX-License-Identifier: Apache-2.0
// Completion prints from inside a library, so it is tested through the real program.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPloop } from '../../src/cli/ploop.js';

const program = resolve('bin/ploop.js');
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'completion-'));
  mkdirSync(join(folder, 'image-one'));
  writeFileSync(join(folder, 'image-two'), '');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What the shell is offered for these words, the last one half typed. */
function offered(...words: string[]): string[] {
  const text = execFileSync(process.execPath, [program, 'complete', '--', ...words], { encoding: 'utf8', cwd: folder });
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(':'))
    .map((line) => line.split('\t')[0] ?? '');
}

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish'])('prints a script for %s', (shell) => {
    expect(execFileSync(process.execPath, [program, 'completion', shell], { encoding: 'utf8' })).toContain('ploop');
  });

  it('refuses another shell with the ones it knows', () => {
    const done = spawnSync(process.execPath, [program, 'completion', 'tcsh'], { encoding: 'utf8' });
    expect(done.status).toBe(2);
    expect(done.stderr).toContain("'tcsh' is not one of bash, zsh, fish");
  });

  it('offers the commands that begin with what was typed', async () => {
    const names = ((await loadPloop()).commands ?? []).map(({ name }) => name).filter((name) => name.startsWith('s'));
    expect(offered('s')).toEqual(expect.arrayContaining(names));
  });

  it('offers the options of a command', () => {
    expect(offered('create', '--')).toEqual(expect.arrayContaining(['--size', '--json']));
  });

  it('offers directories and files for an argument that is a path', () => {
    expect(offered('info', 'image-')).toEqual(['image-one/', 'image-two']);
    expect(offered('info', `${folder}/image-o`)).toEqual([`${folder}/image-one/`]);
  });
});
