// SPDX-License-Identifier: Apache-2.0
// Where run state lives: `/run/ploop`, or what PLOOP_RUN_DIR says. It vanishes with a reboot.

import { resolve } from 'node:path';

export interface RunDirectoryOption {
  /** Default: $PLOOP_RUN_DIR, or /run/ploop. */
  runDir?: string | undefined;
}

export function runDirectory(options: RunDirectoryOption = {}): string {
  const fromEnvironment = process.env['PLOOP_RUN_DIR'];
  return resolve(options.runDir ?? (fromEnvironment === undefined || fromEnvironment === '' ? '/run/ploop' : fromEnvironment));
}
