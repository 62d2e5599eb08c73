// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';

describe('run', () => {
  it('hands arguments on as they are, without a shell', async () => {
    const { stdout } = await run('printf', ['%s\n', 'two words', '$HOME', '*']);
    expect(stdout).toBe('two words\n$HOME\n*\n');
  });

  it('refuses a program that is not installed', async () => {
    await expect(run('ploop-no-such-program', [])).rejects.toMatchObject({ code: 'TOOL_MISSING', exitStatus: 19 });
  });

  it('reports command, exit status and the end of stderr of a program that fails', async () => {
    await expect(run('ls', ['/no/such/place'])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringMatching(/^ls \/no\/such\/place failed with exit status 2: .*No such file/) as string,
      details: { command: 'ls /no/such/place', exitCode: 2, signal: null, stderr: expect.stringContaining('No such file') as string },
    });
  });

  it('names the signal that killed a program', async () => {
    await expect(run('sh', ['-c', 'kill -KILL $$'])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('was killed by SIGKILL') as string,
    });
  });

  it('accepts the exit statuses it was told to', async () => {
    expect(await run('sh', ['-c', 'exit 3'], { accept: [0, 3] })).toMatchObject({ exitCode: 3 });
    await expect(run('sh', ['-c', 'exit 4'], { accept: [0, 3] })).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect(await run('sh', ['-c', 'exit 5'], { accept: 'any' })).toMatchObject({ exitCode: 5 });
  });

  it('ends a program that ignores SIGTERM when it is interrupted', async () => {
    const stop = new AbortController();
    const running = run('sh', ['-c', "trap '' TERM; echo ready >&2; sleep 30 & wait; sleep 30"], { signal: stop.signal });
    setTimeout(() => stop.abort(), 200);
    const begun = performance.now();
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED', exitStatus: 130 });
    expect(performance.now() - begun).toBeLessThan(9000);
  });

  it('starts nothing when it is interrupted before', async () => {
    await expect(run('touch', ['/nonexistent/x'], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it('gives up on a program that takes too long', async () => {
    await expect(run('sleep', ['30'], { timeoutMs: 100 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('ends a program that floods it', async () => {
    await expect(run('yes', [])).rejects.toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('wrote more than 16777216 bytes') as string,
    });
  });

  it('says so when the directory to run in is missing, not that the program is', async () => {
    await expect(run('true', [], { cwd: '/no/such/place' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('lets a program read an open file from where it stands', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ploop-run-'));
    try {
      await writeFile(join(directory, 'f'), 'firstsecond');
      const file = await open(join(directory, 'f'));
      await file.read(Buffer.alloc(5), 0, 5);
      expect((await run('cat', [], { input: { fd: file.fd } })).stdout).toBe('second');
      await file.close();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('finds mkfs even when PATH lacks the directories of the administrator', async () => {
    const { stdout } = await run('sh', ['-c', 'echo $PATH'], { env: { PATH: '/opt/only' } });
    expect(stdout.trim().split(':')).toEqual(expect.arrayContaining(['/opt/only', '/usr/sbin', '/sbin', '/bin']));
  });

  it('asks programs to speak English', async () => {
    expect((await run('sh', ['-c', 'echo $LC_ALL'])).stdout).toBe('C\n');
  });
});
