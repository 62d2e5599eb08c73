// SPDX-License-Identifier: Apache-2.0
// Telling the image which blocks a mounted file system does not need: free space, and ext4's journal.
import { PloopError } from '../errors.js';
import { run } from '../exec/run.js';
import { nativeFile } from '../native/binding.js';
import { syncFileSystem } from './sync.js';

export interface TrimOptions {
  signal?: AbortSignal | undefined;
}

/** fstrim(8); answers the bytes the file system named as free (not what the host got back). */
export async function trimFileSystem(mountPoint: string, options: TrimOptions = {}): Promise<number> {
  // ext4 does not trim what was freed in a transaction that is not committed yet.
  await syncFileSystem(mountPoint);
  const { stdout } = await run('fstrim', ['-v', mountPoint], { signal: options.signal });
  const match = /\((\d+) bytes\)/.exec(stdout);
  if (!match) throw new PloopError('TOOL_FAILED', `fstrim -v ${mountPoint}: cannot find the bytes in '${stdout.trim()}'`);
  return Number(match[1]);
}

/**
 * ext4: writes back what the journal holds and discards its blocks, which fstrim leaves alone: up to the whole journal
 * (16 MiB in most images). false where the kernel (before 5.14) or the file system cannot do it.
 */
export async function trimJournal(mountPoint: string, options: TrimOptions = {}): Promise<boolean> {
  const { exitCode, stderr } = await run(nativeFile('ploop-fsctl'), ['trim-journal', mountPoint], {
    accept: [0, 1],
    signal: options.signal,
  });
  if (exitCode === 0) return true;
  if (/^(ENOTTY|EOPNOTSUPP|EINVAL|EROFS|ENOSYS|EPERM):/.test(stderr)) return false;
  throw new PloopError('IO', stderr.trim().replace(/^\w+: /, ''));
}
