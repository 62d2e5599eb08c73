// SPDX-License-Identifier: Apache-2.0
// Where run state lives: `/run/ploop`, or what PLOOP_RUN_DIR says. It vanishes with a reboot.

import { resolve } from 'node:path';

export interface RunDirectoryOption {
  /** Default: $PLOOP_RUN_DIR, or /run/ploop. */
  runDir?: string | undefined;
}

export function runDirectory(options: RunDirectoryOption = {}): string {
  const chosen = [options.runDir, process.env['PLOOP_RUN_DIR']].find((word) => word !== undefined && word !== '');
  return resolve(chosen ?? '/run/ploop');
}
