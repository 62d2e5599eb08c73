// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/cli/context.js';
import { watchInterrupts } from '../../src/cli/interrupt.js';
import { renderProgress } from '../../src/cli/progress.js';

function streams(tty: boolean): { stdout: PassThrough; stderr: PassThrough & { isTTY?: boolean }; written: () => string } {
  const stderr: PassThrough & { isTTY?: boolean } = new PassThrough();
  if (tty) stderr.isTTY = true;
  return { stdout: new PassThrough(), stderr, written: () => ((stderr.read() as Buffer | null) ?? '').toString() };
}

describe('progress', () => {
  it('draws on a terminal and wipes its line at the end', () => {
    const { stdout, stderr, written } = streams(true);
    const bar = createContext({ stdout, stderr }).progress('copy');
    bar.update(1, 2);
    bar.end();
    bar.end();
    expect(written()).toBe('\r\u001B[Kcopy  [############............]  50 %\r\u001B[K');
  });

  it.each([
    [{ json: true }, true],
    [{ quiet: true }, true],
    [{}, false],
  ])('draws nothing with %j on a terminal: %s', (options, tty) => {
    const { stdout, stderr, written } = streams(tty);
    const bar = createContext({ stdout, stderr, ...options }).progress('copy');
    bar.update(1, 2);
    bar.end();
    expect(written()).toBe('');
  });

  it('copes with a total of 0 and with more done than total', () => {
    expect(renderProgress('x', 1, 0)).toContain('  0 %');
    expect(renderProgress('x', 5, 4)).toContain('100 %');
  });
});

describe('notes', () => {
  it('go to stderr as lines', () => {
    const { stdout, stderr, written } = streams(false);
    createContext({ stdout, stderr }).note('attached');
    expect(written()).toBe('attached\n');
  });
});

describe('interrupts', () => {
  it('abort once, say so, and on a second one say that cleaning up goes on', () => {
    const said: string[] = [];
    const interrupts = watchInterrupts((text) => said.push(text));
    process.emit('SIGINT', 'SIGINT');
    expect(interrupts.signal.aborted).toBe(true);
    expect(interrupts.signal.reason).toMatchObject({ code: 'INTERRUPTED', message: 'interrupted by SIGINT' });
    process.emit('SIGINT', 'SIGINT');
    interrupts.stop();
    expect(said).toEqual(['Interrupted: cleaning up.', 'Still cleaning up; please wait a moment.']);
  });

  it('give the signals back when stopped', () => {
    const before = process.listenerCount('SIGHUP');
    watchInterrupts(() => {}).stop();
    expect(process.listenerCount('SIGHUP')).toBe(before);
  });
});
