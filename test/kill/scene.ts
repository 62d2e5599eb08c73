// SPDX-License-Identifier: Apache-2.0
// What tests of killed transfers share: the sender's image, what its snapshots hold, and whether a receiver has just that.
import { createHash } from 'node:crypto';

import { listSnapshots } from '../../src/image/snapshots.js';
import { native } from '../../src/native/index.js';
import type { Places } from '../helpers/scratch.js';

export interface StreamFigures {
  kills: number;
  transfers: number;
  /** Attempts that went on with a token. */
  resumed: number;
  /** Attempts that had to start again, because a kill came before anything was kept. */
  restarted: number;
  /** Images that were not as they should be, each as a sentence. */
  wrong: string[];
}

const MIB = 2 ** 20;
export const NAMES = ['one', 'two', 'three'];

export interface Scene {
  scratch: Places;
  src: string;
  /** Has snapshot "one" of src. */
  base: string;
  /** Content of src's snapshots by name. */
  hashes: Map<string, string>;
  figures: StreamFigures;
  random: () => number;
}

export async function hashOf(dir: string, snapshot?: string): Promise<string> {
  await using reader = await native.openReader(dir, snapshot === undefined ? {} : { snapshot });
  const hash = createHash('sha1');
  for (let at = 0; at < reader.size; at += 32 * MIB) hash.update(await reader.read(at, Math.min(32 * MIB, reader.size - at)));
  return hash.digest('hex');
}

export async function verifyComplete(scene: Scene, dst: string): Promise<void> {
  const { wrong } = scene.figures;
  const names = (await listSnapshots(dst)).map((one) => one.name);
  if (names.join() !== NAMES.join()) wrong.push(`${dst}: snapshots ${names.join()}`);
  for (const [name, hash] of scene.hashes) if ((await hashOf(dst, name)) !== hash) wrong.push(`${dst}: snapshot ${name} differs`);
  if ((await hashOf(dst)) !== scene.hashes.get('three')) wrong.push(`${dst}: the disk differs from its last snapshot`);
  if ((await native.check(dst)).findingsTotal > 0) wrong.push(`${dst}: damaged`);
}
