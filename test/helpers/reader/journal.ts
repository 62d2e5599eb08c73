// SPDX-License-Identifier: Apache-2.0
// FMT-040 to FMT-045: the records of a journal, in order.
import { crc32c, type LayerFile, PAGE, u32, u64 } from './bytes.js';
import type { Header } from './header.js';

export interface Entry {
  where: bigint;
  owned: bigint;
}

export type MapItem = { cluster: bigint } & Entry;

export interface PageItem {
  page: bigint;
  location: bigint;
  crc: number;
}

export interface Record {
  maps: MapItem[];
  pages: PageItem[];
  dirs: { page: bigint; crc: number }[];
}

export function readJournal(file: LayerFile, header: Header): Record[] {
  const ring = file.read(header.journalOff, header.journalLen);
  const start = Number(header.checkpointLsn % BigInt(header.journalLen));
  const bytes = Buffer.concat([ring.subarray(start), ring.subarray(0, start)]);
  const records: Record[] = [];
  let chain = header.checkpointCrc;
  for (let at = 0; ;) {
    const length = recordLength(bytes, at, header.checkpointLsn, chain);
    if (length === undefined) return records;
    chain = u32(bytes, at + 4);
    records.push(decode(bytes.subarray(at, at + length)));
    at += length;
  }
}

/** The length of the record there; undefined where the journal ends. */
function recordLength(bytes: Buffer, at: number, base: bigint, chain: number): number | undefined {
  if (at + 32 > bytes.length || bytes.toString('latin1', at, at + 4) !== 'PLJR') return undefined;
  const length = u32(bytes, at + 16);
  const right = 32 + 24 * u32(bytes, at + 24) + 16 * u32(bytes, at + 28);
  if (u64(bytes, at + 8) !== base + BigInt(at) || length !== right || length > 64 * PAGE || at + length > bytes.length) return undefined;
  if (![1, 2].includes(u32(bytes, at + 20))) return undefined;
  return crc32c(chain, bytes.subarray(at + 8, at + length)) === u32(bytes, at + 4) ? length : undefined;
}

function decode(bytes: Buffer): Record {
  const record: Record = { maps: [], pages: [], dirs: [] };
  const items = u32(bytes, 24);
  for (let at = 32; at < 32 + 24 * items; at += 24) {
    if (u32(bytes, 20) === 1) record.maps.push({ cluster: u64(bytes, at), where: u64(bytes, at + 8), owned: u64(bytes, at + 16) });
    else record.pages.push({ page: u64(bytes, at), location: u64(bytes, at + 8), crc: u32(bytes, at + 16) });
  }
  for (let at = 32 + 24 * items; at < bytes.length; at += 16) {
    if (u32(bytes, 20) === 2) record.dirs.push({ page: u64(bytes, at), crc: u32(bytes, at + 8) });
  }
  return record;
}
