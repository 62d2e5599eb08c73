// SPDX-License-Identifier: Apache-2.0
// Snapshots of an image as its descriptor tells them: the list, the tree, one found by id, prefix or name.

import { PloopError } from '../errors.js';
import { checkText } from '../native/arguments.js';
import type { NativeSnapshot } from '../native/index.js';
import { readDescriptor, type ImageDescriptor } from './descriptor.js';
import { holderIsGone } from './holder.js';

export interface Snapshot {
  id: string;
  /** null: it has none. */
  name: string | null;
  description: string | null;
  /** ISO 8601, UTC. */
  created: string;
  /** The snapshot it builds on; null for a first one. */
  parent: string | null;
  /** The sealed layer it shows. */
  layer: string;
  /** The present state of the disk builds on this one. */
  current: boolean;
  /** The process a temporary one is kept for (FMT-118); null: it stays until it is deleted. */
  holder: string | null;
}

export interface ListedSnapshot extends Snapshot {
  /** A temporary one whose holder has ended: the next command that works on the image deletes it. */
  gone: boolean;
}

/** In order of creation; deleted ones whose layer others still need are left out. */
export async function listSnapshots(dir: string): Promise<ListedSnapshot[]> {
  const snapshots = snapshotsOf(await readDescriptor(dir));
  return Promise.all(snapshots.map(async (one) => ({ ...one, gone: one.holder !== null && (await holderIsGone(one.holder)) })));
}

export function snapshotsOf(descriptor: ImageDescriptor): Snapshot[] {
  const visible = descriptor.snapshots.filter((one) => !one.hidden);
  const byLayer = new Map(visible.map((one) => [one.layer, one.id]));
  const parents = new Map(descriptor.layers.map((layer) => [layer.id, layer.parent]));
  const nearest = (layer: string | null | undefined): string | null => {
    for (let at = layer ?? null; at !== null; at = parents.get(at) ?? null) {
      const snapshot = byLayer.get(at);
      if (snapshot !== undefined) return snapshot;
    }
    return null;
  };
  const current = nearest(descriptor.top);
  return visible.map((one) => ({
    id: one.id,
    name: one.name === '' ? null : one.name,
    description: one.description === '' ? null : one.description,
    created: one.created,
    parent: nearest(parents.get(one.layer)),
    layer: one.layer,
    current: one.id === current,
    holder: one.holder === '' ? null : one.holder,
  }));
}

const MIN_PREFIX_CHARACTERS = 4;

/** One whose deletion was interrupted: no longer listed, but its layer is still there. */
export function findHalfDeleted(descriptor: ImageDescriptor, key: string): NativeSnapshot | undefined {
  const hidden = descriptor.snapshots.filter((one) => one.hidden);
  const matches = hidden.filter((one) => one.name === key || (key.length >= MIN_PREFIX_CHARACTERS && one.id.startsWith(key.toLowerCase())));
  return matches.length === 1 ? matches[0] : undefined;
}

/** By full id, by name, or by a unique prefix of the id (as the C side finds them). */
export function findSnapshot(descriptor: ImageDescriptor, key: string): NativeSnapshot {
  checkText('snapshot', key);
  const visible = descriptor.snapshots.filter((one) => !one.hidden);
  const exact = visible.find((one) => one.id === key.toLowerCase());
  if (exact !== undefined) return exact;
  const named = visible.filter((one) => one.name === key);
  const matches =
    named.length > 0 || key.length < MIN_PREFIX_CHARACTERS ? named : visible.filter((one) => one.id.startsWith(key.toLowerCase()));
  const [only, ...others] = matches;
  if (only === undefined) throw unknownSnapshot(key, visible);
  if (others.length === 0) return only;
  throw new PloopError('AMBIGUOUS_ID', `${matches.length} snapshots match '${key}': ${matches.map((one) => one.id).join(', ')}`, {
    hint: 'Give more characters of the id.',
  });
}

function unknownSnapshot(key: string, visible: readonly NativeSnapshot[]): PloopError {
  const known = visible.slice(-5).map((one) => `${one.id.slice(0, 8)}${one.name === '' ? '' : ` (${one.name})`}`);
  const hint = known.length === 0 ? 'The image has no snapshots.' : `It has: ${visible.length > 5 ? '… ' : ''}${known.join(', ')}.`;
  return new PloopError('SNAPSHOT_NOT_FOUND', `no snapshot has the id or name '${key}'`, { hint });
}
