// SPDX-License-Identifier: Apache-2.0
// The environment of every child: messages in English (some are read by us), and the administrator's directories in
// PATH (after `su` a root shell often lacks them, and mkfs, losetup and fsck live there).

const ADMIN_DIRECTORIES = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

export function searchPath(path: string | undefined): string {
  const directories = (path ?? '').split(':').filter((directory) => directory !== '');
  const missing = ADMIN_DIRECTORIES.filter((directory) => !directories.includes(directory));
  return [...directories, ...missing].join(':');
}

/** process.env with `changes` on top; a change to undefined removes the variable. */
export function childEnvironment(changes: Record<string, string | undefined> = {}): Record<string, string> {
  const merged: Record<string, string | undefined> = { ...process.env, LC_ALL: 'C', ...changes };
  merged.PATH = searchPath(merged.PATH);
  const entries = Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries);
}
