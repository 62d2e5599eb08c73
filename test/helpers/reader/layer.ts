// SPDX-License-Identifier: Apache-2.0
// One layer file: its header, its map with the journal replayed in memory, its blocks.
import { LayerFile, Rejected } from './bytes.js';
import { readHeader, type Header } from './header.js';
import { type Entry, readJournal, type Record } from './journal.js';
import { type DirEntry, loadDirPage, loadMapPage, locationIsRight, type MapPage, replayMapPage } from './map.js';

export class Layer {
  readonly file: LayerFile;
  readonly header: Header;
  readonly #dir: DirEntry[];
  readonly #records: Record[];
  readonly #pages = new Map<bigint, MapPage>();

  constructor(path: string) {
    this.file = new LayerFile(path);
    this.header = readHeader(this.file);
    this.#records = this.header.clean ? [] : readJournal(this.file, this.header);
    this.#dir = this.#loadDirectory();
    this.#replay();
  }

  #loadDirectory(): DirEntry[] {
    const { header } = this;
    const count = header.clean ? Math.min(header.dirPagesInUse, header.dirUsed) : header.dirPagesInUse;
    const pages = Array.from({ length: count }, (_, number) => loadDirPage(this.file, header, number, this.#records));
    const entries = pages.flat().slice(0, header.mapPages);
    const wrong = entries.findIndex(({ location }) => location !== 0n && !locationIsRight(header, location));
    if (wrong !== -1) throw new Rejected(`directory entry ${wrong}`);
    return entries;
  }

  #replay(): void {
    const source = { file: this.file, header: this.header, dir: this.#dir, records: this.#records };
    const named = this.#records.flatMap(({ maps, pages }) => [
      ...maps.map((item) => item.cluster / 256n),
      ...pages.map((item) => item.page),
    ]);
    for (const number of new Set(named)) {
      if (number >= BigInt(this.header.mapPages)) throw new Rejected(`the journal names map page ${number}`);
      this.#pages.set(number, replayMapPage(source, number));
    }
  }

  entry(cluster: bigint): Entry {
    const number = cluster / 256n;
    if (number >= BigInt(this.header.mapPages)) return { where: 0n, owned: 0n };
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = loadMapPage({ file: this.file, header: this.header, dir: this.#dir, records: this.#records }, number);
      this.#pages.set(number, page);
    }
    return page.entry(cluster);
  }

  /** Where the block is, null: it is zeros; undefined: this layer does not own it. */
  place(number: bigint): number | null | undefined {
    const { blockSize, clusterSize, virtualSize } = this.header;
    if (number * BigInt(blockSize) >= BigInt(virtualSize)) return undefined;
    const { where, owned } = this.entry(number / 64n);
    if (((owned >> (number % 64n)) & 1n) === 0n) return undefined;
    return where === 0n ? null : Number(where) * clusterSize + Number(number % 64n) * blockSize;
  }

  bytes(place: number | null): Buffer {
    return place === null ? Buffer.alloc(this.header.blockSize) : this.file.read(place, this.header.blockSize);
  }

  close(): void {
    this.file.close();
  }
}
