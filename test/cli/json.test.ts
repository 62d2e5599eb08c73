// SPDX-License-Identifier: Apache-2.0
// docs/json.md has every command, and its blocks can be read. That they are true is tested where the commands are (end to end).
import { describe, expect, it } from 'vitest';

import { loadPloop } from '../../src/cli/ploop.js';
import { loadVzctl } from '../../src/cli/vzctl.js';
import { differences, documentedHeadings } from '../helpers/json-shape.js';

/** Documented under another command, or handing on what runs in the container. */
const ELSEWHERE = ['vzctl umount', 'vzctl snapshot-delete', 'vzctl exec', 'vzctl enter'];

describe('docs/json.md', () => {
  it('describes every command', async () => {
    const commands = [await loadPloop(), await loadVzctl()].flatMap(({ name, commands: list }) =>
      (list ?? []).map((one) => `${name} ${one.name}`),
    );
    const headings = documentedHeadings();
    expect(commands.filter((command) => !headings.includes(command) && !ELSEWHERE.includes(command))).toEqual([]);
    expect(headings.filter((heading) => /^(ploop|vzctl) /.test(heading) && !commands.includes(heading))).toEqual([]);
  });

  it('can be read, block by block', () => {
    for (const heading of documentedHeadings()) expect(differences(heading, 1).length).toBeGreaterThan(0);
  });

  it('is compared key by key and type by type', () => {
    const switched = { kept: null, sizeBytes: 1, oldSizeBytes: 1 };
    expect(differences('ploop snapshot-switch', { directory: '/a', snapshot: { id: 'x', name: null }, ...switched })).toEqual([]);
    expect(differences('ploop snapshot-switch', { directory: 1, snapshot: { id: 'x', extra: true }, ...switched })).toEqual([
      'ploop snapshot-switch.directory: 1 is no string',
      'ploop snapshot-switch.snapshot.extra: is not documented',
      'ploop snapshot-switch.snapshot.name: is missing',
    ]);
  });
});
