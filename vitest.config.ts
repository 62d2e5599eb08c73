// SPDX-License-Identifier: Apache-2.0
// Two projects: `unit` (test/<folder>/**) and `e2e` (test/e2e/**: attaches, mounts, runs containers; two files at a time).
import { defineConfig } from 'vitest/config';

import { LongestFirst } from './test/helpers/longest-first.js';

const shared = { pool: 'forks' as const, setupFiles: ['test/helpers/setup.ts'], globals: false, expect: { poll: { timeout: 30_000 } } };

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/c/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
        },
      },
    ],
    coverage: { provider: 'v8', include: ['src/**'], reporter: ['text-summary', 'lcov'] },
  },
});
