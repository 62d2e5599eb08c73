// SPDX-License-Identifier: Apache-2.0
// FMT-100 to FMT-107, FMT-118: image.json, and the chain it gives.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { Rejected } from './bytes.js';

export interface Descriptor {
  size: number;
  blockSize: number;
  top: string;
  layers: { id: string; parent: string | null; size: number }[];
  snapshots: { id: string; layer: string; name: string | null; hidden: boolean }[];
}

type Members = { readonly [key: string]: unknown };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function fail(what: string): never {
  throw new Rejected(`image.json: ${what}`);
}

function members(value: unknown, what: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(what);
  return value as Members;
}

function list(value: unknown, what: string): Members[] {
  if (!Array.isArray(value)) fail(what);
  return value.map((one) => members(one, what));
}

function uuid(value: unknown, what: string): string {
  if (typeof value !== 'string' || !UUID.test(value)) fail(what);
  return value;
}

function positive(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value <= 0) fail(what);
  return value;
}

function text(value: unknown, maxBytes: number, what: string): string {
  if (typeof value !== 'string' || Buffer.byteLength(value) > maxBytes) fail(what);
  return value;
}

const optional = <T>(value: unknown, read: (value: unknown) => T): T | null => (value === undefined || value === null ? null : read(value));

export function readDescriptor(directory: string): Descriptor {
  const path = join(directory, 'image.json');
  if (!existsSync(path)) fail('is missing');
  if (statSync(path).size > 4 * 2 ** 20) fail('is too large');
  const bytes = readFileSync(path);
  const root = members(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown, 'no object');
  if (root['format'] !== 'ploop-image' || root['version'] !== 1) fail('format or version');
  uuid(root['id'], 'id');
  text(root['created'], 31, 'created');
  optional(root['label'], (value) => text(value, 63, 'label'));
  optional(root['fs'], (value) => text(value, 15, 'fs'));
  const blockSize = positive(root['blockSize'], 'blockSize');
  if (![4096, 8192, 16384, 32768, 65536].includes(blockSize)) fail('blockSize');
  if (!['block', 'cluster', 'off'].includes((root['discard'] as string | undefined) ?? 'block')) fail('discard');
  const descriptor: Descriptor = {
    size: positive(root['size'], 'size'),
    blockSize,
    top: uuid(root['top'], 'top'),
    layers: list(root['layers'], 'layers').map((layer) => ({
      id: uuid(layer['id'], 'the id of a layer'),
      parent: optional(layer['parent'], (value) => uuid(value, 'the parent of a layer')),
      size: positive(layer['size'], 'the size of a layer'),
    })),
    snapshots: list(root['snapshots'], 'snapshots').map(readSnapshot),
  };
  checkTree(descriptor);
  return descriptor;
}

function readSnapshot(one: Members): Descriptor['snapshots'][number] {
  const hidden = one['hidden'] ?? false;
  if (typeof hidden !== 'boolean') fail('hidden');
  text(one['created'], 31, 'created of a snapshot');
  optional(one['description'], (value) => text(value, 255, 'description'));
  optional(one['holder'], (value) => text(value, 127, 'the holder of a snapshot'));
  return {
    id: uuid(one['id'], 'the id of a snapshot'),
    layer: uuid(one['layer'], 'the layer of a snapshot'),
    name: optional(one['name'], (value) => text(value, 127, 'the name of a snapshot')),
    hidden,
  };
}

function checkTree({ top, layers, snapshots }: Descriptor): void {
  const ids = new Set(layers.map((layer) => layer.id));
  if (layers.length === 0 || ids.size !== layers.length || !ids.has(top)) fail('layers or top');
  if (layers.some(({ parent }) => parent !== null && !ids.has(parent))) fail('a parent');
  if (snapshots.some(({ layer }) => !ids.has(layer))) fail('the layer of a snapshot');
  for (const { id } of layers) chainOf(layers, id);
}

/** The ids from the base up to `id`. */
export function chainOf(layers: Descriptor['layers'], id: string): string[] {
  const chain: string[] = [];
  for (let at: string | null = id; at !== null; at = layers.find((layer) => layer.id === chain[0])?.parent ?? null) {
    if (chain.includes(at)) fail('a layer is its own ancestor');
    chain.unshift(at);
  }
  return chain;
}
