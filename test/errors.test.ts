// SPDX-License-Identifier: Apache-2.0
// One list of errors in three places: csrc/include/ploop/errors.def, src/errors.ts, docs/errors.md.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERROR_EXIT_STATUS, isErrorCode, PloopError } from '../src/errors.js';

const defined = [...readFileSync('csrc/include/ploop/errors.def', 'utf8').matchAll(/^PL_ERROR\((\w+), (\d+), (\d+), "(.+)"\)$/gm)].map(
  ([, code = '', number, status, meaning = '']) => ({ code, number: Number(number), status: Number(status), meaning }),
);
const sections = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^## ([A-Z_]+)\n\n([\s\S]*?)(?=\n## |$(?![\s\S]))/gm)].map(
  ([, code = '', text = '']) => ({
    code,
    text,
  }),
);

describe('the list of errors', () => {
  it('is not empty and has no number or exit status twice', () => {
    expect(defined.length).toBeGreaterThan(20);
    expect(new Set(defined.map((error) => error.number)).size).toBe(defined.length);
    expect(new Set(defined.map((error) => error.status)).size).toBe(defined.length);
  });

  it('is the same in C and TypeScript, in the same order', () => {
    expect(Object.entries(ERROR_EXIT_STATUS)).toEqual(defined.map(({ code, status }) => [code, status]));
  });

  it('has one section per code in docs/errors.md, in the same order', () => {
    expect(sections.map(({ code }) => code)).toEqual(defined.map(({ code }) => code));
  });

  it.each(defined)('documents $code with meaning, exit status, causes and what to do', ({ code, status, meaning }) => {
    const text = sections.find((section) => section.code === code)?.text ?? '';
    expect(text).toContain(`Exit status ${status}: ${meaning}.`);
    expect(text).toMatch(/^\*\*Causes\.\*\* \S/m);
    expect(text).toMatch(/^\*\*What to do\.\*\* \S/m);
  });
});

describe('PloopError', () => {
  it('carries code, hint, details, cause and the exit status of its code', () => {
    const cause = new Error('EBUSY');
    const error = new PloopError('MOUNTED', '/dev/loop3 is mounted', { hint: 'Unmount it.', details: { pids: [1] }, cause });
    expect(error).toMatchObject({
      name: 'PloopError',
      code: 'MOUNTED',
      message: '/dev/loop3 is mounted',
      hint: 'Unmount it.',
      details: { pids: [1] },
      cause,
    });
    expect(error.exitStatus).toBe(13);
    expect(error).toBeInstanceOf(Error);
  });

  it('knows its own codes and no others', () => {
    expect(isErrorCode('CORRUPT')).toBe(true);
    for (const word of ['corrupt', 'toString', '', 7, null]) expect(isErrorCode(word)).toBe(false);
  });
});
