// SPDX-License-Identifier: Apache-2.0
// All contenders by name. The first one is what the others are compared with.
import type { Preparation } from './contender.js';
import { image } from './image.js';
import { qcow2 } from './qcow2.js';
import { rawFile } from './raw.js';

export const CONTENDERS: readonly Preparation[] = [
  raw('raw', true),
  raw('sparse', false),
  ours('ours', 'full'),
  ours('ours-base', 'part'),
  ours('ours-64', 'full', 64),
  ours('ours-aged', 'full', 10),
  peer('qcow2', 'full'),
  peer('qcow2-base', 'part'),
];

/** For what happens only once to a block: the first write over a base. */
export const OVER_BASE: readonly Preparation[] = [raw('raw', true), ours('ours', 'base'), peer('qcow2', 'base')];

/** For the first write of all. */
export const EMPTY: readonly Preparation[] = [
  raw('raw', true),
  raw('sparse', false, 'empty'),
  ours('ours', 'empty'),
  peer('qcow2', 'empty'),
];

function raw(name: string, allocated: boolean, content: Preparation['content'] = 'full'): Preparation {
  return { name, content, make: (parent, sizeBytes) => rawFile(parent, { sizeBytes, content, allocated }) };
}

function ours(name: string, content: Preparation['content'], layers = 0): Preparation {
  return { name, content, make: (parent, sizeBytes) => image(parent, { sizeBytes, content, layers }) };
}

function peer(name: string, content: Preparation['content']): Preparation {
  return { name, content, make: (parent, sizeBytes) => qcow2(parent, sizeBytes, content) };
}
