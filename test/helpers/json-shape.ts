// SPDX-License-Identifier: Apache-2.0
// Compares what a command writes with the block of docs/json.md under its heading.
import { readFileSync } from 'node:fs';

type Shape = string | Shape[] | { [key: string]: Shape };

/** The differences, each as a sentence with its path; [] when the value is as documented. `block`: the word behind ```json. */
export function differences(heading: string, value: unknown, block = ''): string[] {
  return compare(documentedShape(heading, block), value, heading);
}

export function documentedHeadings(): string[] {
  return [...document().matchAll(/^## (.+)$/gm)].map((match) => match[1] ?? '');
}

function document(): string {
  return readFileSync(new URL('../../docs/json.md', import.meta.url), 'utf8');
}

function documentedShape(heading: string, block: string): Shape {
  const section = document()
    .split(/^## /m)
    .find((part) => part.startsWith(`${heading}\n`));
  const text = section?.split('```json' + (block === '' ? '' : ` ${block}`) + '\n')[1]?.split('```')[0];
  if (text === undefined) throw new Error(`docs/json.md has no block for "${heading}"`);
  return JSON.parse(text) as Shape;
}

function compare(shape: Shape, value: unknown, path: string): string[] {
  if (typeof shape === 'string')
    return shape.split('|').includes(typeName(value, shape)) ? [] : [`${path}: ${JSON.stringify(value)} is no ${shape}`];
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return [`${path}: is no list`];
    return value.flatMap((item, at) => compare(shape[0] ?? 'null', item, `${path}[${at}]`));
  }
  if (typeName(value, 'object') !== 'object') return [`${path}: is no object`];
  const given = value as Record<string, unknown>;
  const extra = Object.keys(given).filter((key) => !(key in shape));
  return [
    ...extra.map((key) => `${path}.${key}: is not documented`),
    ...Object.entries(shape).flatMap(([key, inner]) =>
      key in given ? compare(inner, given[key], `${path}.${key}`) : [`${path}.${key}: is missing`],
    ),
  ];
}

function typeName(value: unknown, wanted: string): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'list';
  if (typeof value === 'number') return Number.isInteger(value) && !wanted.split('|').includes('number') ? 'integer' : 'number';
  return typeof value;
}
