// SPDX-License-Identifier: Apache-2.0
// The tree of snapshots as a descriptor tells it, and finding one by id, prefix or name.
import { describe, expect, it } from 'vitest';

import type { ImageDescriptor } from '../../src/image/descriptor.js';
import { findHalfDeleted, findSnapshot, snapshotsOf } from '../../src/image/snapshots.js';

const id = (head: string): string => `${head}-0000-4000-8000-000000000000`;
const snapshot = (head: string, layer: string, more: { name?: string; hidden?: boolean } = {}) => ({
  id: id(head),
  layer,
  name: more.name ?? '',
  description: '',
  created: '2026-11-20T10:00:00Z',
  hidden: more.hidden ?? false,
  holder: '',
});

/** a ← b ← c ← top, and a branch d on a; b's snapshot is hidden. */
const descriptor: ImageDescriptor = {
  id: id('ffffffff'),
  label: '',
  fs: 'ext4',
  created: '2026-11-20T09:00:00Z',
  size: 4096,
  blockSize: 4096,
  discard: 'block',
  top: 'top',
  layers: [
    { id: 'a', parent: null, size: 4096 },
    { id: 'b', parent: 'a', size: 4096 },
    { id: 'c', parent: 'b', size: 4096 },
    { id: 'd', parent: 'a', size: 4096 },
    { id: 'top', parent: 'c', size: 4096 },
  ],
  snapshots: [
    snapshot('aaaa1111', 'a', { name: 'first' }),
    snapshot('bbbb1111', 'b', { name: 'gone', hidden: true }),
    snapshot('cccc1111', 'c'),
    snapshot('cccc2222', 'd', { name: 'branch' }),
  ],
};

describe('snapshots of a descriptor', () => {
  it('names the parent of each and the one the present state builds on, leaving out hidden ones', () => {
    const shown = snapshotsOf(descriptor).map((one) => [one.id.slice(0, 8), one.parent?.slice(0, 8) ?? null, one.current]);
    expect(shown).toEqual([
      ['aaaa1111', null, false],
      ['cccc1111', 'aaaa1111', true],
      ['cccc2222', 'aaaa1111', false],
    ]);
  });

  it('finds by full id, name and unique prefix', () => {
    expect(findSnapshot(descriptor, id('cccc1111')).layer).toBe('c');
    expect(findSnapshot(descriptor, 'branch').layer).toBe('d');
    expect(findSnapshot(descriptor, 'AAAA').layer).toBe('a');
  });

  it('says which snapshots an ambiguous prefix matches', () => {
    expect(() => findSnapshot(descriptor, 'cccc')).toThrow(/2 snapshots match 'cccc': cccc1111-.*, cccc2222-/);
    expect(() => findSnapshot(descriptor, 'cccc')).toThrow(expect.objectContaining({ code: 'AMBIGUOUS_ID' }));
  });

  it('finds one whose deletion was interrupted only when asked for such', () => {
    expect(findHalfDeleted(descriptor, 'gone')?.layer).toBe('b');
    expect(findHalfDeleted(descriptor, 'bbbb')?.layer).toBe('b');
    expect(findHalfDeleted(descriptor, 'first')).toBeUndefined();
  });

  it.each(['aaa', 'nothing', 'gone', id('bbbb1111')])('does not find %s', (key) => {
    expect(() => findSnapshot(descriptor, key)).toThrow(
      expect.objectContaining({ code: 'SNAPSHOT_NOT_FOUND', hint: expect.stringContaining('aaaa1111 (first)') }),
    );
  });
});
