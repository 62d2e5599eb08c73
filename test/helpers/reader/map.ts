// SPDX-License-Identifier: Apache-2.0
// FMT-020 to FMT-034 and the healing of FMT-046: directory pages, map pages, replay. After the pseudo-code of docs/format.md.
import { crc32c, isZero, type LayerFile, PAGE, Rejected, u32, u64 } from './bytes.js';
import type { Header } from './header.js';
import type { Entry, MapItem, PageItem, Record } from './journal.js';

export interface DirEntry {
  location: bigint;
  crc: number;
}

const dirPageCrc = (page: Buffer): number => crc32c(crc32c(0, page.subarray(0, 4080)), page.subarray(4084));

function isDirPage(page: Buffer, number: number): boolean {
  return page.toString('latin1', 4084, 4088) === 'PLDP' && u64(page, 4088) === BigInt(number) && u32(page, 4080) === dirPageCrc(page);
}

function decodeDirPage(page: Buffer): DirEntry[] {
  return Array.from({ length: 255 }, (_, i) => ({ location: u64(page, 16 * i), crc: u32(page, 16 * i + 8) }));
}

function encodeDirPage(entries: readonly DirEntry[], number: number): Buffer {
  const page = Buffer.alloc(PAGE);
  entries.forEach(({ location, crc }, i) => {
    page.writeBigUInt64LE(location, 16 * i);
    page.writeUInt32LE(crc, 16 * i + 8);
  });
  page.write('PLDP', 4084, 'latin1');
  page.writeBigUInt64LE(BigInt(number), 4088);
  page.writeUInt32LE(dirPageCrc(page), 4080);
  return page;
}

export function loadDirPage(file: LayerFile, header: Header, number: number, records: readonly Record[]): DirEntry[] {
  const page = file.read(header.dirOff + PAGE * number, PAGE);
  const entries = decodeDirPage(page);
  if (isZero(page) || isDirPage(page, number)) return entries;
  for (const item of records.flatMap((record) => record.pages)) {
    if (item.page / 255n === BigInt(number)) entries[Number(item.page % 255n)] = { location: item.location, crc: item.crc };
  }
  const want = records.flatMap((record) => record.dirs).findLast((item) => item.page === BigInt(number))?.crc;
  if (want === undefined || u32(encodeDirPage(entries, number), 4080) !== want) throw new Rejected(`directory page ${number}`);
  return entries;
}

export function locationIsRight(header: Header, location: bigint): boolean {
  return location % BigInt(PAGE) === 0n && location >= BigInt(header.firstCluster) * BigInt(header.clusterSize) && location < 2n ** 62n;
}

/** FMT-021, FMT-022, FMT-023. */
function checkEntry(header: Header, cluster: bigint, entry: Entry): void {
  const blocks = BigInt(header.virtualSize / header.blockSize) - cluster * 64n;
  const allowed = blocks <= 0n ? 0n : blocks >= 64n ? 2n ** 64n - 1n : 2n ** blocks - 1n;
  const inMetadata = entry.where !== 0n && entry.where < BigInt(header.firstCluster);
  if (entry.where >= 2n ** 40n || inMetadata || (entry.owned & ~allowed) !== 0n) throw new Rejected(`the entry of cluster ${cluster}`);
}

export class MapPage {
  readonly bytes: Buffer;

  constructor(bytes: Buffer = Buffer.alloc(PAGE)) {
    this.bytes = Buffer.from(bytes);
  }

  get crc(): number {
    return crc32c(0, this.bytes);
  }

  entry(cluster: bigint): Entry {
    const at = 16 * Number(cluster % 256n);
    return { where: u64(this.bytes, at), owned: u64(this.bytes, at + 8) };
  }

  apply(items: readonly MapItem[]): this {
    for (const { cluster, where, owned } of items) {
      const at = 16 * Number(cluster % 256n);
      this.bytes.writeBigUInt64LE(where, at);
      this.bytes.writeBigUInt64LE(owned, at + 8);
    }
    return this;
  }

  check(header: Header, number: bigint): this {
    for (let i = 0n; i < 256n; i++) checkEntry(header, number * 256n + i, this.entry(number * 256n + i));
    return this;
  }
}

const pageAt = (file: LayerFile, location: bigint): MapPage => new MapPage(file.read(Number(location), PAGE));

/** Map items of page `number` in records before index `end`. */
function itemsOf(records: readonly Record[], number: bigint, end = records.length): MapItem[] {
  return records.slice(0, end).flatMap((record) => record.maps.filter((item) => item.cluster / 256n === number));
}

export interface Source {
  file: LayerFile;
  header: Header;
  dir: readonly DirEntry[];
  records: readonly Record[];
}

export function loadMapPage(source: Source, number: bigint): MapPage {
  const { file, header, records } = source;
  const { location, crc } = source.dir[Number(number)] ?? { location: 0n, crc: 0 };
  if (location !== 0n && !locationIsRight(header, location)) throw new Rejected(`directory entry ${number}`);
  const announced = records
    .flatMap(({ pages }, index) => pages.filter((item) => item.page === number).map((item) => ({ item, index })))
    .toReversed();
  if (location === 0n && announced.length === 0) return new MapPage();
  const there = location === 0n ? undefined : pageAt(file, location);
  if (there?.crc === crc) return there.check(header, number);
  for (const { item, index } of announced) {
    const page = healed(source, number, item, index);
    if (page !== undefined) return page;
  }
  throw new Rejected(`map page ${number}`);
}

function healed({ file, header, records }: Source, number: bigint, item: PageItem, index: number): MapPage | undefined {
  if (!locationIsRight(header, item.location)) return undefined;
  const there = pageAt(file, item.location);
  const before = itemsOf(records, number, index);
  const candidates = [there, new MapPage(there.bytes).apply(before), new MapPage().apply(before)];
  return candidates.find((page) => page.crc === item.crc);
}

/** A page that the journal names, with everything the journal says of it. */
export function replayMapPage(source: Source, number: bigint): MapPage {
  const items = itemsOf(source.records, number);
  for (const item of items) checkEntry(source.header, item.cluster, item);
  return loadMapPage(source, number).apply(items);
}
