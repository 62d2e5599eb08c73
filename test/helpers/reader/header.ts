// SPDX-License-Identifier: Apache-2.0
// FMT-010 to FMT-019.
import { crc32c, farPlace, type LayerFile, PAGE, place, Rejected, u32, u64 } from './bytes.js';

export interface Header {
  sequence: bigint;
  autoClear: bigint;
  uuid: string;
  /** null = none */
  parent: string | null;
  virtualSize: number;
  blockSize: number;
  clusterSize: number;
  sealed: boolean;
  clean: boolean;
  dirOff: number;
  dirUsed: number;
  journalOff: number;
  journalLen: number;
  checkpointLsn: bigint;
  checkpointCrc: number;
  firstCluster: number;
  mapPages: number;
  dirPagesInUse: number;
  sumsOff: bigint;
  sumsPages: bigint;
}

function isIntact(page: Buffer): boolean {
  if (page.toString('latin1', 0, 8) !== 'PLOOPLYR') return false;
  const copy = Buffer.from(page);
  copy.writeUInt32LE(0, 16);
  return crc32c(0, copy) === u32(page, 16);
}

function uuidAt(page: Buffer, offset: number): string {
  const hex = page.toString('hex', offset, offset + 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const NIL = '00000000-0000-0000-0000-000000000000';

function need(condition: boolean, what: string): void {
  if (!condition) throw new Rejected(`header: ${what}`);
}

export function readHeader(file: LayerFile): Header {
  const copies = [file.read(0, PAGE), file.read(PAGE, PAGE)].filter(isIntact);
  const [a, b] = copies;
  if (a === undefined) throw new Rejected('header: no intact copy');
  return decode(b !== undefined && u64(b, 24) > u64(a, 24) ? b : a);
}

function decode(page: Buffer): Header {
  need(u32(page, 8) === 1, 'version');
  need(u64(page, 32) === 0n, 'incompatible feature');
  const parent = uuidAt(page, 72);
  const blockSize = u32(page, 96);
  need([4096, 8192, 16384, 32768, 65536].includes(blockSize), 'block size');
  const clusterSize = 64 * blockSize;
  const virtualSize = place(u64(page, 88), 'virtual size');
  need(virtualSize > 0 && virtualSize % blockSize === 0 && virtualSize / blockSize <= 2 ** 34, 'virtual size');
  need([512, 4096].includes(u32(page, 100)), 'sector size');
  need([1, 2].includes(u32(page, 104)), 'state');
  need(uuidAt(page, 56) !== NIL, 'uuid');
  need(u64(page, 24) < 2n ** 63n, 'sequence');
  const mapPages = Math.ceil(Math.ceil(virtualSize / clusterSize) / 256);
  const header: Header = {
    sequence: u64(page, 24),
    autoClear: u64(page, 48),
    uuid: uuidAt(page, 56),
    parent: parent === NIL ? null : parent,
    virtualSize,
    blockSize,
    clusterSize,
    sealed: u32(page, 104) === 2,
    clean: (u32(page, 108) & 1) === 1,
    dirOff: farPlace(u64(page, 112), 'dir off'),
    dirUsed: place(u64(page, 128), 'dir used'),
    journalOff: place(u64(page, 136), 'journal off'),
    journalLen: place(u64(page, 144), 'journal len'),
    checkpointLsn: u64(page, 152),
    checkpointCrc: u32(page, 160),
    firstCluster: place(u64(page, 168), 'first cluster'),
    mapPages,
    dirPagesInUse: Math.ceil(mapPages / 255),
    sumsOff: u64(page, 248),
    sumsPages: u64(page, 256),
  };
  checkPlaces(header, place(u64(page, 120), 'dir pages'));
  return header;
}

function checkPlaces(header: Header, dirPages: number): void {
  const { dirOff, journalOff, journalLen } = header;
  const dirEnd = dirOff + dirPages * PAGE;
  const journalEnd = journalOff + journalLen;
  const data = header.firstCluster * header.clusterSize;
  need(dirOff % PAGE === 0 && dirOff >= 8192, 'dir off');
  need(dirPages <= 2 ** 16 && dirPages >= header.dirPagesInUse && header.dirUsed <= dirPages, 'dir pages');
  need(journalOff % PAGE === 0 && journalOff >= 8192 && journalLen % PAGE === 0, 'journal');
  need(journalLen >= 2 ** 19 && journalLen <= 2 ** 20, 'journal len');
  need(dirEnd <= journalOff || journalEnd <= dirOff, 'directory and journal overlap');
  need(header.firstCluster > 0 && data <= 2 ** 30 && data >= journalEnd, 'first cluster');
  need(dirEnd <= data || dirOff >= data, 'directory');
  need(header.checkpointLsn % 8n === 0n && header.checkpointLsn < 2n ** 63n, 'checkpoint lsn');
}
