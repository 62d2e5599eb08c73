// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { Command, ParsedArguments, ParsedOptions } from '../../src/cli/command.js';
import { PloopError } from '../../src/errors.js';
import { parseSize } from '../../src/units.js';
import { programOf, runMain } from './harness.js';

/** A command that remembers what it was called with. */
function recorder(more: Partial<Command> = {}): { command: Command; calls: { args: ParsedArguments; options: ParsedOptions }[] } {
  const calls: { args: ParsedArguments; options: ParsedOptions }[] = [];
  const command: Command = {
    name: 'make',
    aliases: ['init'],
    summary: 'make a thing',
    arguments: [{ name: 'dir', summary: 'where', required: true }],
    options: [
      { flags: '--size <size>', summary: 'how big', parse: (word) => parseSize(word, '--size') },
      { flags: '--fs <type>', summary: 'what', choices: ['ext4', 'xfs'], default: 'ext4' },
      { flags: '--no-loop', summary: 'without' },
    ],
    examples: [['prog make d --size 1G', 'makes d']],
    async run(ctx, args, options) {
      calls.push({ args, options });
      ctx.note('working');
      ctx.result({ made: args.dir }, `made ${String(args.dir)}`);
      return Promise.resolve();
    },
    ...more,
  };
  return { command, calls };
}

function failing(error: unknown): Command {
  return { name: 'fail', summary: 'fails', run: () => Promise.reject(error) };
}

describe('a command', () => {
  it('gets its arguments and parsed options, and nothing of the common ones', async () => {
    const { command, calls } = recorder();
    expect(await runMain(programOf(command), ['make', 'd', '--size', '1K', '--no-loop', '--quiet'])).toEqual({
      status: 0,
      stdout: 'made d\n',
      stderr: '',
    });
    expect(calls).toEqual([{ args: { dir: 'd' }, options: { size: 1024, fs: 'ext4', loop: false } }]);
  });

  it('answers to its aliases', async () => {
    const { command, calls } = recorder();
    await runMain(programOf(command), ['init', 'd']);
    expect(calls).toHaveLength(1);
  });

  it.each([[['make', 'd', '--json']], [['--json', 'make', 'd']]])(
    'prints JSON alone with --json before or after its name: %j',
    async (argv) => {
      const { stdout, stderr } = await runMain(programOf(recorder().command), argv);
      expect(JSON.parse(stdout)).toEqual({ made: 'd' });
      expect(stderr).toBe('');
    },
  );

  it('hands on its exit status', async () => {
    const { command } = recorder({ run: () => Promise.resolve(28) });
    expect((await runMain(programOf(command), ['make', 'd'])).status).toBe(28);
  });

  it('with passThrough leaves the options behind its first argument alone', async () => {
    const { command, calls } = recorder({
      arguments: [
        { name: 'ctid', summary: 'which', required: true },
        { name: 'command', summary: 'what', variadic: true },
      ],
      options: [],
      passThrough: true,
    });
    await runMain(programOf(command), ['make', '--quiet', '101', 'ls', '-l', '--json', '--', 'x']);
    expect(calls[0]?.args).toEqual({ ctid: '101', command: ['ls', '-l', '--json', '--', 'x'] });
  });

  it('is the program itself where there are no sub-commands', async () => {
    const { command, calls } = recorder();
    const program = { name: 'vz', summary: 's', description: 'd', command };
    await runMain(program, ['d', '--size', '2']);
    expect(calls[0]).toMatchObject({ args: { dir: 'd' }, options: { size: 2 } });
  });
});

describe('a wrong call', () => {
  it.each([
    [['make', 'd', '--sise', '1'], "unknown option '--sise'", 'Did you mean --size?'],
    [['mak', 'd'], "unknown command 'mak'", 'Did you mean make?'],
    [['make'], "missing required argument 'dir'", 'How it is called: prog make --help'],
    [['make', 'd', 'e'], "too many arguments for 'make'. Expected 1 argument but got 2.", 'prog make --help'],
    [['make', 'd', '--size', '0'], "--size: '0' is 0; a size is at least 1 byte", 'Write a size as'],
    [['make', 'd', '--fs', 'ntfs'], "option '--fs <type>' argument 'ntfs' is invalid. Allowed choices are ext4, xfs.", undefined],
    [[], 'no command given', 'prog --help'],
  ])('%j is refused with exit status 2, saying what and the way out', async (argv, message, hint) => {
    const { command, calls } = recorder();
    const { status, stdout, stderr } = await runMain(programOf(command), argv);
    expect({ status, stdout, calls }).toEqual({ status: 2, stdout: '', calls: [] });
    expect(stderr.split('\n')[0]).toBe(`prog: ${message}`);
    if (hint !== undefined) expect(stderr).toContain(hint);
  });
});

describe('a required option', () => {
  const { command } = recorder({ options: [{ flags: '-s, --size <size>', summary: 'how big', required: true }] });

  it('that is missing is refused', async () => {
    const { status, stderr } = await runMain(programOf(command), ['make', 'd']);
    expect({ status, stderr }).toEqual({ status: 2, stderr: "prog: required option '-s, --size <size>' not specified\n" });
  });

  it('that is misspelt is named as it was written, with the likely spelling', async () => {
    const { stderr } = await runMain(programOf(command), ['make', 'd', '--sise', '1']);
    expect(stderr).toBe("prog: unknown option '--sise'\nDid you mean --size?\n");
  });
});

describe('a failure', () => {
  const error = new PloopError('MOUNTED', '/mnt is busy', { hint: 'End process 7.', details: { pids: [7] } });

  it('is a sentence and a hint on stderr, with the exit status of its code', async () => {
    expect(await runMain(programOf(failing(error)), ['fail'])).toEqual({
      status: 13,
      stdout: '',
      stderr: 'prog: /mnt is busy\nEnd process 7.\n',
    });
  });

  it('is one JSON document on stdout with --json', async () => {
    const { stdout, stderr, status } = await runMain(programOf(failing(error)), ['fail', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'MOUNTED', message: '/mnt is busy', hint: 'End process 7.', details: { pids: [7] }, exitStatus: 13 },
    });
    expect({ stderr, status }).toEqual({ stderr: '', status: 13 });
  });

  it('that is no PloopError is a defect: INTERNAL, 70', async () => {
    const { status, stderr } = await runMain(programOf(failing(new TypeError('x is not a function'))), ['fail']);
    expect(status).toBe(70);
    expect(stderr).toContain('prog: x is not a function');
    expect(stderr).not.toContain('    at ');
  });

  it('shows where it happened with PLOOP_DEBUG=1', async () => {
    const { stderr } = await runMain(programOf(failing(new TypeError('boom'))), ['fail'], { env: { PLOOP_DEBUG: '1' } });
    expect(stderr).toContain('program.test.ts');
  });

  it('after an interrupt is INTERRUPTED, 130, whatever was thrown', async () => {
    const signal = AbortSignal.abort(new PloopError('INTERRUPTED', 'interrupted by SIGINT'));
    expect(await runMain(programOf(failing(new Error('aborted'))), ['fail'], { signal })).toMatchObject({
      status: 130,
      stderr: 'prog: interrupted by SIGINT\n',
    });
  });
});
