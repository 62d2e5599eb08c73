// SPDX-License-Identifier: Apache-2.0
// CTID.conf: KEY="value" lines as OpenVZ writes them. What we do not know, comments included, stays as it is.

import { randomUUID } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import { PloopError } from '../../errors.js';

/** A configuration file: its lines as they are; `get` and `set` look at KEY="value" ones. */
export interface ContainerConfig {
  get(key: string): string | undefined;
  /** Changes the last line with this key in place, or adds one at the end. */
  set(key: string, value: string): void;
  /** Removes the last line with this key. */
  delete(key: string): void;
  /** All keys with their values; the last line of a key counts, as for the shell. */
  entries(): Record<string, string>;
  toString(): string;
}

const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/;

/** `origin` is named when a line is neither a setting nor a comment. */
export function parseConfig(text: string, origin: string): ContainerConfig {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const settings = new Map<string, { index: number; value: string }>();
  for (const [index, line] of lines.entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [, key, word] = LINE.exec(line) ?? [];
    if (key === undefined || word === undefined) {
      throw new PloopError('INVALID_ARGUMENT', `${origin}:${index + 1}: expected KEY="value", found ${JSON.stringify(line.slice(0, 80))}`);
    }
    settings.set(key, { index, value: unquote(word, `${origin}:${index + 1}`) });
  }
  return {
    get: (key) => settings.get(key)?.value,
    set(key, value) {
      const index = settings.get(key)?.index ?? lines.length;
      lines[index] = `${key}=${quote(key, value)}`;
      settings.set(key, { index, value });
    },
    delete(key) {
      const index = settings.get(key)?.index;
      if (index === undefined) return;
      lines.splice(index, 1);
      settings.delete(key);
      for (const setting of settings.values()) if (setting.index > index) setting.index--;
    },
    entries: () => Object.fromEntries([...settings].map(([key, { value }]) => [key, value])),
    toString: () => lines.map((line) => `${line}\n`).join(''),
  };
}

export async function readConfig(path: string): Promise<ContainerConfig | null> {
  try {
    return parseConfig(await readFile(path, 'utf8'), path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'EACCES')
      throw new PloopError('NOT_PERMITTED', `${path}: only root may read it`, { hint: 'Run the command as root.', cause: error });
    throw error;
  }
}

/** Written beside, synced, renamed: a crash leaves the old file or the new one. */
export async function writeConfig(path: string, config: ContainerConfig): Promise<void> {
  const temporary = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(config.toString());
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}

/** A shell word: "…" with backslashes before " \ $ and `, '…' as is, or bare up to a comment. */
function unquote(word: string, where: string): string {
  const double = /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(word);
  if (double?.[1] !== undefined) return double[1].replace(/\\(["\\$`])/g, '$1');
  const single = /^'([^']*)'\s*(?:#.*)?$/.exec(word);
  if (single?.[1] !== undefined) return single[1];
  if (/^["']/.test(word)) throw new PloopError('INVALID_ARGUMENT', `${where}: the closing quote is missing or something follows it`);
  return word.replace(/\s+#.*$/, '').trim();
}

function quote(key: string, value: string): string {
  const control = /[\u0000-\u001f\u007f]/.exec(value);
  if (control !== null) throw new PloopError('INVALID_ARGUMENT', `${key}: a value must not contain control characters`);
  return `"${value.replace(/["\\`]|\$(?!VEID\b|\{VEID\})/g, '\\$&')}"`;
}
