// SPDX-License-Identifier: Apache-2.0
// Commands connected by pipes, as a user's shell does it.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface PipelineOutcome {
  /** Exit status of each command. */
  statuses: number[];
  stdout: string;
  stderr: string;
}

/** Runs `script` in bash; in it, `ploop` is the real command. */
export function pipeline(script: string, env: Record<string, string> = {}): Promise<PipelineOutcome> {
  const bin = fileURLToPath(new URL('../../bin/ploop.js', import.meta.url));
  const prelude = `ploop() { "${process.execPath}" "${bin}" "$@"; }\n`;
  const child = spawn('bash', ['-c', `${prelude}${script}\necho "statuses \${PIPESTATUS[*]}" >&2`], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      const statuses = /statuses ([\d ]+)\n$/.exec(stderr)?.[1]?.trim().split(' ').map(Number) ?? [];
      resolve({ statuses, stdout, stderr });
    });
  });
}
