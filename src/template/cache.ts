// SPDX-License-Identifier: Apache-2.0
// The template cache, as on OpenVZ: a directory of root file system tarballs, NAME.tar[.gz|.xz|.zst|.bz2].
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { PloopError } from '../errors.js';

export interface CacheOption {
  /** Default: $PLOOP_VZ_ROOT/template/cache, or /vz/template/cache. */
  cacheDir?: string | undefined;
}

export interface Template {
  /** "debian-12-x86_64" */
  name: string;
  path: string;
  sizeBytes: number;
}

const TEMPLATE_FILE = /^(.+)\.tar(?:\.(?:gz|xz|zst|bz2))?$/;

export function templateCacheDirectory(options: CacheOption = {}): string {
  const vzRoot = process.env.PLOOP_VZ_ROOT;
  return options.cacheDir ?? join(vzRoot === undefined || vzRoot === '' ? '/vz' : vzRoot, 'template', 'cache');
}

/** The template's name of a tarball: "debian-12" of "debian-12.tar.xz"; undefined for what is no tarball by its name. */
export function templateNameOf(fileName: string): string | undefined {
  return TEMPLATE_FILE.exec(fileName)?.[1];
}

/** By name; none when there is no cache directory. Of one name in several formats, all. */
export async function listTemplates(options: CacheOption = {}): Promise<Template[]> {
  const directory = templateCacheDirectory(options);
  const files = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new PloopError('IO', `cannot read the template cache ${directory}: ${error.code ?? error.message}`, { cause: error });
  });
  const templates: Template[] = [];
  for (const file of files.toSorted()) {
    const name = templateNameOf(file);
    const path = join(directory, file);
    const found = name === undefined ? undefined : await stat(path).catch(() => undefined);
    if (name !== undefined && found?.isFile() === true) templates.push({ name, path, sizeBytes: found.size });
  }
  return templates;
}
