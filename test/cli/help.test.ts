// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { loadPloop } from '../../src/cli/ploop.js';
import { VERSION } from '../../src/cli/program.js';
import { loadVzctl } from '../../src/cli/vzctl.js';
import { vzlistProgram } from '../../src/cli/vzlist.js';
import { runMain } from './harness.js';

const programs = [await loadPloop(), await loadVzctl(), vzlistProgram];
const commands = programs.flatMap((program) =>
  (program.commands ?? []).map((command) => ({ program, command, title: `${program.name} ${command.name}` })),
);

describe.each(programs)('$name', (program) => {
  it('shows its version', async () => {
    expect(await runMain(program, ['--version'])).toEqual({ status: 0, stdout: `${VERSION}\n`, stderr: '' });
  });

  it('lists every command in --help', async () => {
    const { status, stdout } = await runMain(program, ['--help']);
    expect(status).toBe(0);
    for (const { name, aliases, summary } of program.commands ?? []) {
      expect(stdout).toContain([name, ...(aliases ?? []).slice(0, 1)].join('|'));
      expect(stdout.replaceAll(/\s+/g, ' ')).toContain(summary.replaceAll(/\s+/g, ' '));
    }
  });

  it('has no command name or alias twice', () => {
    const names = (program.commands ?? []).flatMap(({ name, aliases }) => [name, ...(aliases ?? [])]);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe.each(commands)('$title', ({ program, command }) => {
  it('shows its arguments, options and examples in --help', async () => {
    const { status, stdout } = await runMain(program, [command.name, '--help']);
    expect(status).toBe(0);
    for (const { name } of command.arguments ?? []) expect(stdout).toContain(name);
    for (const { flags } of command.options ?? []) expect(stdout).toContain(flags);
    for (const [line] of command.examples ?? []) expect(stdout).toContain(line);
    expect(stdout).toContain('--json');
  });

  it('has a summary in lower case without a full stop', () => {
    expect(command.summary).toMatch(/^[^A-Z].*[^.]$/);
  });
});
