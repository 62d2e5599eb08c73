// SPDX-License-Identifier: Apache-2.0
// Every program the product runs by name must be in the table, or "not installed" comes without the way out.
import { readFileSync } from 'node:fs';

import { expect, it } from 'vitest';

import { toolMissing } from '../../src/exec/failure.js';
import { debianPackageOf } from '../../src/exec/tools.js';
import { trackedFiles } from '../helpers/tree.js';

it('knows the package of every program that is run by name', () => {
  const sources = trackedFiles('src').filter((file) => file.endsWith('.ts'));
  const called = sources.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\b(?:run|findProgram|startCompanion|runInteractive)\('([\w.-]+)'/g)].map(
      ([, name = '']) => name,
    ),
  );
  expect(new Set(called).size).toBeGreaterThan(8);
  expect(called.filter((name) => debianPackageOf(name) === undefined)).toEqual([]);
});

it('gives the apt line for a program of the table', () => {
  expect(toolMissing('mkfs.xfs')).toMatchObject({ code: 'TOOL_MISSING', hint: 'Install it with: apt-get install xfsprogs' });
});
