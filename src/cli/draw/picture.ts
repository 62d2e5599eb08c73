// SPDX-License-Identifier: Apache-2.0
// A picture of an image as SVG (with a legend) or PNG (the cells alone). PNG needs no more than zlib: eight bytes of magic and
// three chunks.
import { crc32, deflateSync } from 'node:zlib';

import type { CellMap } from '../../filesystem/space/cells.js';
import { formatSize } from '../../units.js';
import { colourOf, HOLE, KINDS, type Rgb } from './colours.js';

export const COLUMNS = 128;
export const ROWS = 64;
const CELL_PIXELS = 6;

export function svgPicture({ cells, bytesPerCell, sizeBytes, unknown }: CellMap): string {
  const rows = Math.ceil(cells.length / COLUMNS);
  const [width, height] = [COLUMNS * CELL_PIXELS, rows * CELL_PIXELS];
  const rects: string[] = [];
  for (let row = 0; row < rows; row++)
    rects.push(
      ...rowRects(
        cells
          .slice(row * COLUMNS, (row + 1) * COLUMNS)
          .map(colourOf)
          .map(hex),
        row,
      ),
    );
  const legend = [...KINDS.map(({ name, rgb }) => ({ name, rgb: rgb as Rgb })), { name: 'hole', rgb: HOLE }]
    .map(({ name, rgb }, at) => {
      const x = at * 120;
      return `<rect x="${x}" y="${height + 8}" width="12" height="12" fill="${hex(rgb)}"/><text x="${x + 18}" y="${height + 18}">${name}</text>`;
    })
    .join('\n');
  const note = `${formatSize(sizeBytes)}, ${formatSize(bytesPerCell)} a cell${unknown === null ? '' : '; what is reclaimable is not known'}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height + 28}" font-family="sans-serif" font-size="12">`,
    `<title>${note}</title>`,
    `<rect width="${width}" height="${height + 28}" fill="#ffffff"/>`,
    `<rect width="${width}" height="${height}" fill="${hex(HOLE)}"/>`,
    ...rects,
    legend,
    `<text x="${width}" y="${height + 18}" text-anchor="end">${note}</text>`,
    '</svg>\n',
  ].join('\n');
}

/** Neighbours of one colour are one rectangle; holes are the background. */
function rowRects(colours: readonly string[], row: number): string[] {
  const rects: string[] = [];
  for (let start = 0; start < colours.length;) {
    let end = start + 1;
    while (end < colours.length && colours[end] === colours[start]) end++;
    if (colours[start] !== hex(HOLE)) {
      const place = `x="${start * CELL_PIXELS}" y="${row * CELL_PIXELS}"`;
      rects.push(`<rect ${place} width="${(end - start) * CELL_PIXELS}" height="${CELL_PIXELS}" fill="${colours[start] ?? ''}"/>`);
    }
    start = end;
  }
  return rects;
}

function hex([red, green, blue]: Rgb): string {
  return `#${((red << 16) | (green << 8) | blue).toString(16).padStart(6, '0')}`;
}

export function pngPicture({ cells }: CellMap): Buffer {
  const rows = Math.ceil(cells.length / COLUMNS);
  const [width, height] = [COLUMNS * CELL_PIXELS, rows * CELL_PIXELS];
  const line = 1 + width * 3;
  const pixels = Buffer.alloc(line * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = cells[Math.floor(y / CELL_PIXELS) * COLUMNS + Math.floor(x / CELL_PIXELS)];
      pixels.set(cell === undefined ? HOLE : colourOf(cell), y * line + 1 + x * 3);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits a channel, three channels.
  header.set([8, 2, 0, 0, 0], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([magic, chunk('IHDR', header), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}
