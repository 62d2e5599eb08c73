// SPDX-License-Identifier: Apache-2.0
// The files of the repository as git sees them: tracked, or new and not ignored.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export function trackedFiles(...folders: string[]): string[] {
  const list = execFileSync(
    'git',
    ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...folders],
    { encoding: 'utf8' },
  );
  return [...new Set(list.split('\0'))].filter((file) => file !== '' && existsSync(file)).toSorted();
}
