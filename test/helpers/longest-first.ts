// SPDX-License-Identifier: Apache-2.0
// The order of test files. Two run at a time, so the longest come first: else one of them is what everybody waits for in the end.
// (Vitest goes by size where it has no times of an earlier run, as on a new machine.)
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Below test/, in this order; a minute or so each. */
const LONGEST = [
  'main-job',
  'compact-killed',
  'container-faults',
  'containers',
  'pack',
  'snapshot-delete',
  'vz-operations',
  'pack-killed',
].map((name) => `/e2e/${name}.test.ts`);

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(name));
      return at === -1 ? LONGEST.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
