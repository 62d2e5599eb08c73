// SPDX-License-Identifier: Apache-2.0
// Reads a PNG as the specification says, for pictures of eight bits a channel in RGB without interlacing; throws what is wrong.
import { crc32, inflateSync } from 'node:zlib';

export interface Pixels {
  width: number;
  height: number;
  /** #rrggbb */
  at(x: number, y: number): string;
}

const MAGIC = '89504e470d0a1a0a';

export function readPng(file: Buffer): Pixels {
  if (file.subarray(0, 8).toString('hex') !== MAGIC) throw new Error('no PNG');
  const chunks = chunksOf(file);
  const [header, last] = [chunks[0], chunks.at(-1)];
  if (header?.type !== 'IHDR' || header.data.length !== 13) throw new Error('IHDR does not come first');
  if (last?.type !== 'IEND' || last.data.length !== 0) throw new Error('IEND does not come last');
  const [width, height] = [header.data.readUInt32BE(0), header.data.readUInt32BE(4)];
  if (header.data.subarray(8).toString('hex') !== '0802000000') throw new Error(`not plain RGB: ${header.data.toString('hex')}`);
  const lines = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)));
  const lineBytes = 1 + width * 3;
  if (lines.length !== lineBytes * height) throw new Error(`${lines.length} bytes of pixels for ${width} x ${height}`);
  for (let y = 0; y < height; y++) if (lines[y * lineBytes] !== 0) throw new Error(`line ${y} has filter ${lines[y * lineBytes]}`);
  const at = (x: number, y: number): string => `#${lines.toString('hex', y * lineBytes + 1 + x * 3, y * lineBytes + 4 + x * 3)}`;
  return { width, height, at };
}

function chunksOf(file: Buffer): { type: string; data: Buffer }[] {
  const chunks = [];
  for (let at = 8; at < file.length;) {
    const end = at + 8 + file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    if (file.readUInt32BE(end) !== crc32(file.subarray(at + 4, end))) throw new Error(`${type}: checksum`);
    chunks.push({ type, data: file.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}
