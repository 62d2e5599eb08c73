// SPDX-License-Identifier: Apache-2.0
// Where a program is, asked before anything is begun that would have to be undone without it.
import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { searchPath } from './environment.js';
import { toolMissing } from './failure.js';

/** Its path, as run() would find it; TOOL_MISSING with the apt line otherwise. */
export async function findProgram(program: string): Promise<string> {
  const candidates = program.includes('/')
    ? [program]
    : searchPath(process.env.PATH)
        .split(':')
        .map((directory) => join(directory, program));
  for (const candidate of candidates) if (await isProgram(candidate)) return candidate;
  throw toolMissing(program);
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
