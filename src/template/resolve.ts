// SPDX-License-Identifier: Apache-2.0
// From what the user wrote, a template's name or a tarball's path, to the tarball.
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { listTemplates, templateCacheDirectory, templateNameOf, type CacheOption, type Template } from './cache.js';
import { nearMisses } from './near-misses.js';

/** A word with a slash is a path; any other is looked for in the cache first, by name or file name, then as a path. */
export async function resolveTemplate(word: string, options: CacheOption = {}): Promise<Template> {
  if (word === '') throw new PloopError('INVALID_ARGUMENT', 'template: the name is empty');
  if (word.includes('/')) {
    const found = await fromPath(word);
    if (found === undefined) throw new PloopError('TEMPLATE_NOT_FOUND', `there is no template tarball ${word}`);
    return found;
  }
  const templates = await listTemplates(options);
  const matches = templates.filter((template) => template.name === word || basename(template.path) === word);
  const [first, second] = matches;
  if (first !== undefined && second === undefined) return first;
  if (first !== undefined) throw ambiguous(word, matches);
  const found = await fromPath(word);
  if (found !== undefined) return found;
  throw notFound(word, templates, options);
}

async function fromPath(word: string): Promise<Template | undefined> {
  const path = resolve(word);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  if (!found.isFile())
    throw new PloopError('INVALID_ARGUMENT', `template: ${word} is not a file`, {
      hint: 'Give a tarball, or the name of a template in the cache.',
    });
  return { name: templateNameOf(basename(path)) ?? basename(path), path, sizeBytes: found.size };
}

function ambiguous(word: string, matches: readonly Template[]): PloopError {
  const files = matches.map((template) => basename(template.path)).join(', ');
  return new PloopError('AMBIGUOUS_ID', `several tarballs have the name '${word}': ${files}`, { hint: 'Give the file name of one.' });
}

function notFound(word: string, templates: readonly Template[], options: CacheOption): PloopError {
  const directory = templateCacheDirectory(options);
  const names = [...new Set(templates.map((template) => template.name))];
  const near = nearMisses(word, names);
  const known = names.length === 0 ? `${directory} holds no templates` : `${directory} holds: ${names.join(', ')}`;
  const hint =
    near.length > 0
      ? `Did you mean ${near.join(' or ')}?`
      : `Put a root file system tarball there as ${word}.tar.zst (or .xz, .gz, .tar), or give the path of one.`;
  return new PloopError('TEMPLATE_NOT_FOUND', `no template has the name '${word}'; ${known}`, {
    hint,
    details: { name: word, templates: names, cacheDir: directory },
  });
}
