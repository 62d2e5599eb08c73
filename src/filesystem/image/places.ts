// SPDX-License-Identifier: Apache-2.0
// Where ploop mounts images when nobody says where: below the run directory, which only root may enter.
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

import { runDirectory, type RunDirectoryOption } from '../../attach/run-directory.js';

function mountsDirectory(options: RunDirectoryOption): string {
  return join(runDirectory(options), 'mounts');
}

/** Makes the mount point of an attachment. */
export async function makeMountPoint(name: string, options: RunDirectoryOption): Promise<string> {
  const path = join(mountsDirectory(options), name);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return path;
}

/** Removes a mount point that makeMountPoint made; leaves every other directory alone. */
export async function removeMountPoint(path: string, options: RunDirectoryOption): Promise<void> {
  if (path.startsWith(`${mountsDirectory(options)}/`)) await rmdir(path).catch(() => undefined);
}
