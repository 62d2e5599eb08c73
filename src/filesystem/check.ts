// SPDX-License-Identifier: Apache-2.0
// fsck of a file system that is not mounted.
import { PloopError } from '../errors.js';
import { tailOf } from '../exec/failure.js';
import { run, type RunResult } from '../exec/run.js';
import type { FileSystemType } from './type.js';

export interface CheckOptions {
  type: FileSystemType;
  signal?: AbortSignal | undefined;
}

export interface FileSystemCheck {
  clean: boolean;
  /** What the tool said. */
  report: string;
}

/** Looks without changing anything. */
export async function checkFileSystem(device: string, options: CheckOptions): Promise<FileSystemCheck> {
  const { type, signal } = options;
  if (type === 'ext4') {
    const result = await run('e2fsck', ['-f', '-n', device], { accept: [0, 4], signal });
    return { clean: result.exitCode === 0, report: reportOf(result) };
  }
  const result = await run('xfs_repair', ['-n', device], { accept: [0, 1], signal });
  return { clean: result.exitCode === 0, report: reportOf(result) };
}

/**
 * What resize2fs demands before it works on an unmounted ext4: journal played back, all checked, the harmless repaired.
 * DAMAGED when more is wrong.
 */
export async function prepareExt4(device: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
  const result = await run('e2fsck', ['-f', '-p', device], { accept: [0, 1, 2, 4], signal: options.signal });
  if (result.exitCode !== 4) return;
  throw new PloopError('DAMAGED', `the ext4 file system on ${device} is damaged: ${tailOf(reportOf(result))}`, {
    hint: 'Attach the image with `ploop attach`, repair the device with `e2fsck -f`, and detach it.',
    details: { report: reportOf(result) },
  });
}

function reportOf(result: RunResult): string {
  return `${result.stdout}${result.stderr}`.trim();
}
