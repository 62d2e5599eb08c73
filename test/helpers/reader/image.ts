// SPDX-License-Identifier: Apache-2.0
// The second reader: slow, plain, written from docs/format.md alone. It shares no code with the product.
import { join } from 'node:path';

import { Rejected } from './bytes.js';
import { chainOf, readDescriptor } from './descriptor.js';
import { Layer } from './layer.js';

export interface Extent {
  offset: number;
  length: number;
  layer: string | null;
  zero: boolean;
  hostOffset: number | null;
}

export class PlainReader {
  readonly size: number;
  readonly blockSize: number;
  /** From the base up. */
  readonly layers: readonly Layer[];

  /** `snapshot`: its id or name; absent = the top. */
  constructor(directory: string, snapshot?: string) {
    const descriptor = readDescriptor(directory);
    const isIt = (key: string | null): boolean => key !== null && key === snapshot;
    const shown = descriptor.snapshots.find(({ id, name, hidden }) => (isIt(id) || isIt(name)) && !hidden);
    if (snapshot !== undefined && shown === undefined) throw new Rejected(`no snapshot ${snapshot}`);
    const ids = chainOf(descriptor.layers, shown?.layer ?? descriptor.top);
    if (ids.length > 1000) throw new Rejected('more than 1000 layers');
    this.blockSize = descriptor.blockSize;
    this.layers = ids.map((id) => new Layer(join(directory, 'layers', `${id}.plp`)));
    this.layers.forEach(({ header }, index) => {
      if (header.uuid !== ids[index] || header.blockSize !== this.blockSize) throw new Rejected(`layer ${header.uuid}`);
      if (header.parent !== null && !ids.slice(0, index).includes(header.parent)) throw new Rejected(`the parent of ${header.uuid}`);
    });
    this.size = this.layers.at(-1)?.header.virtualSize ?? 0;
  }

  #owner(block: bigint): { layer: Layer; place: number | null } | undefined {
    for (const layer of this.layers.toReversed()) {
      const place = layer.place(block);
      if (place !== undefined) return { layer, place };
    }
    return undefined;
  }

  /** Whole blocks. */
  read(offset: number, length: number): Buffer {
    const blocks = Array.from({ length: length / this.blockSize }, (_, i) => {
      const found = this.#owner(BigInt(offset / this.blockSize + i));
      return found?.layer.bytes(found.place) ?? Buffer.alloc(this.blockSize);
    });
    return Buffer.concat(blocks);
  }

  /** Of [offset, offset + length), in the fewest pieces. */
  extents(offset: number, length: number): Extent[] {
    const extents: Extent[] = [];
    const end = Math.min(offset + length, this.size);
    for (let at = offset; at < end;) {
      const next = this.#nobodys(at, end) ?? this.#blockAt(at);
      const last = extents.at(-1);
      if (last !== undefined && continues(last, next)) last.length += next.length;
      else extents.push(next);
      at += next.length;
    }
    return extents;
  }

  /** The rest of a cluster of which no layer owns anything. */
  #nobodys(at: number, end: number): Extent | undefined {
    const clusterSize = 64 * this.blockSize;
    const cluster = Math.floor(at / clusterSize);
    if (this.layers.some((layer) => layer.entry(BigInt(cluster)).owned !== 0n)) return undefined;
    return { offset: at, length: Math.min((cluster + 1) * clusterSize, end) - at, layer: null, zero: true, hostOffset: null };
  }

  #blockAt(at: number): Extent {
    const found = this.#owner(BigInt(at / this.blockSize));
    const hostOffset = found?.place ?? null;
    return { offset: at, length: this.blockSize, layer: found?.layer.header.uuid ?? null, zero: hostOffset === null, hostOffset };
  }

  [Symbol.dispose](): void {
    for (const layer of this.layers) layer.close();
  }
}

function continues(last: Extent, next: Extent): boolean {
  const adjacent = last.hostOffset === null ? next.hostOffset === null : last.hostOffset + last.length === next.hostOffset;
  return last.layer === next.layer && adjacent;
}
