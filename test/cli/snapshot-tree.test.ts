// SPDX-License-Identifier: Apache-2.0
// The tree that `ploop snapshot-list --tree` draws.
import { describe, expect, it } from 'vitest';

import { renderSnapshots, renderTree } from '../../src/cli/ploop/snapshot-list.js';
import type { Snapshot } from '../../src/image/snapshots.js';

function snapshot(id: string, parent: string | null, current = false): Snapshot {
  return {
    id: id.repeat(8),
    name: id,
    description: null,
    created: '2026-11-21',
    parent: parent?.repeat(8) ?? null,
    layer: id,
    current,
    holder: null,
  };
}

describe('ploop snapshot-list', () => {
  it('shows a name that came from elsewhere on one line', () => {
    expect(renderSnapshots([{ ...snapshot('a', null), name: 'x\n\u001B[2Jy', gone: false }]).split('\n')[1]).toMatch(/ {2}x\?\?\[2Jy$/);
  });
});

describe('ploop snapshot-list --tree', () => {
  it('puts branches, and the present state, below what they build on, and a chain in one column', () => {
    const list = [snapshot('a', null), snapshot('b', 'a'), snapshot('c', 'a', true), snapshot('d', 'b')];
    expect(renderTree(list).split('\n')).toEqual([
      'aaaaaaaa  2026-11-21  a',
      '├─ bbbbbbbb  2026-11-21  b',
      '│  dddddddd  2026-11-21  d',
      '└─ cccccccc  2026-11-21  c',
      '   (present state)',
    ]);
  });

  it('has the present state alone at the root when it builds on none', () => {
    expect(renderTree([])).toBe('(present state)');
  });
});
