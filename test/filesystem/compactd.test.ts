// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';

import { checkCompactdConfig, COMPACTD_DEFAULTS, windowLeftMs } from '../../src/filesystem/compactd/config.js';

const at = (hours: number, minutes: number): Date => new Date(2026, 10, 21, hours, minutes, 0);
const MINUTE = 60_000;

describe('the window of automatic compaction', () => {
  it('tells how long it is still open, also across midnight', () => {
    expect(windowLeftMs({ window: '01:00-05:00' }, at(1, 0))).toBe(240 * MINUTE);
    expect(windowLeftMs({ window: '01:00-05:00' }, at(4, 59))).toBe(MINUTE);
    expect(windowLeftMs({ window: '01:00-05:00' }, at(5, 0))).toBe(0);
    expect(windowLeftMs({ window: '01:00-05:00' }, at(0, 59))).toBe(0);
    expect(windowLeftMs({ window: '23:00-02:30' }, at(23, 30))).toBe(180 * MINUTE);
    expect(windowLeftMs({ window: '23:00-02:30' }, at(2, 0))).toBe(30 * MINUTE);
    expect(windowLeftMs({ window: '23:00-02:30' }, at(12, 0))).toBe(0);
    expect(windowLeftMs({ window: null }, at(12, 0))).toBe(Infinity);
  });
});

describe('the configuration of automatic compaction', () => {
  it('takes what is given and defaults for the rest', () => {
    expect(checkCompactdConfig('f', { smearPercent: 5 })).toEqual({ ...COMPACTD_DEFAULTS, smearPercent: 5 });
  });

  it.each([
    [{ window: '1-5' }, "f: window: '1-5' is not of the form 01:00-05:00"],
    [{ window: '01:00-01:00' }, "f: window: '01:00-01:00' never opens"],
    [{ busyPercent: 0 }, 'f: busyPercent: must be from 1 to 100'],
    [{ smearBytes: -1 }, 'f: smearBytes: must be a number from 0'],
    [{ smearPercents: 1 }, 'smearPercents'],
  ])('refuses %j by name', (given, message) => {
    expect(() => checkCompactdConfig('f', given as object)).toThrow(message);
  });
});
