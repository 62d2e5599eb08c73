// SPDX-License-Identifier: Apache-2.0
// The `vzlist` program.
import type { Program } from './command.js';
import { runProgram } from './program.js';

export const vzlistProgram: Program = {
  name: 'vzlist',
  summary: 'list containers',
  description: 'Lists containers with what the runtime says about them. Running ones; all of them with -a.',
};

export async function run(): Promise<void> {
  await runProgram(vzlistProgram);
}
