// SPDX-License-Identifier: Apache-2.0
// Two hosts for the tests of vzctl migrate: the second one is this machine again, with other directories, behind a real sshd.
import { access, chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

import type { ContainerState } from '../../src/container/state.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { type Sshd, startSshd } from '../helpers/sshd.js';
import { leftovers, type Outcome, type Vz, withVz } from './vz.js';

export const HOST = 'elsewhere';

export interface Two {
  here: Vz;
  there: Vz;
  sshd: Sshd;
  migrate(...more: string[]): Promise<Outcome>;
}

/** Two hosts; on the first one container 101 runs and has a file and a snapshot. */
export async function withTwoHosts(work: (two: Two) => Promise<void>, env: Record<string, string> = {}): Promise<void> {
  await withVz((here) =>
    withVz(async (there) => {
      const sshd = await startSshd(join(here.directory, 'ssh'), { PLOOP_RUN_DIR: there.runDir, PLOOP_VZ_ROOT: there.vzRoot, ...env });
      const migrate: Two['migrate'] = (...more) => here.command('vzctl', ['migrate', '101', HOST, '--rsh', sshd.rsh, '--fast', ...more]);
      try {
        await makeBusyboxTemplate(join(here.vzRoot, 'template/cache/tiny.tar'));
        await here.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '64M', '--hostname', 'moving');
        await here.vzctl('set', '101', '--description', 'one of mine', '--iopslimit', '5000');
        await here.vzctl('start', '101');
        await here.vzctl('exec', '101', 'sh', '-c', 'echo first > /root/file; sync');
        await here.vzctl('snapshot', '101', '--name', 'one');
        await work({ here, there, sshd, migrate });
      } finally {
        await sshd.stop();
      }
    }),
  );
}

export const status = (vz: Vz): Promise<ContainerState> => vz.json<ContainerState>('status', '101');
export const fileIn = (vz: Vz): Promise<string> => vz.vzctl('exec', '101', 'cat', '/root/file');
export const configOf = (vz: Vz): Promise<string> => readFile(join(vz.vzRoot, 'conf/101.conf'), 'utf8').catch(() => '');
export const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** It runs on the other host, with all it had, and nothing is left of it here. */
export async function hasMoved({ here, there }: Two): Promise<void> {
  expect(await status(there)).toMatchObject({ exists: true, running: true });
  expect(await status(here)).toMatchObject({ exists: false, running: false });
  expect(await fileIn(there)).toBe('first');
  const config = await configOf(there);
  expect(config).toContain('HOSTNAME="moving"');
  expect(config).not.toContain('MOVING');
  expect((await there.json<{ name: string }[]>('snapshot-list', '101')).map(({ name }) => name)).toEqual(['one']);
  expect(await leftovers(here)).toEqual([]);
}

/**
 * With something that happens once, before or after a step is carried out there (a command of the shell; `cut_off`: from then on the
 * host can not be reached).
 */
export async function migrateThrough({ here, sshd }: Two, when: string, action: string): Promise<Outcome> {
  const [moment = '', step = ''] = when.split(' ');
  const [script, once, cut] = ['rsh', 'rsh.done', 'rsh.cut'].map((name) => join(here.directory, name)) as [string, string, string];
  await Promise.all([once, cut].map((file) => rm(file, { force: true })));
  const wanted = step === 'receive' ? `*"'receive' "*` : `*"'incoming' '${step}'"*`;
  const lines = [
    '#!/bin/sh',
    `[ ! -e ${cut} ] || { echo the host is gone >&2; exit 255; }`,
    `cut_off() { touch ${cut}; exit 255; }`,
    `case "$*" in *"'--resume-token'"*) ;; ${wanted}) [ -e ${once} ] || hit=1 ;; esac`,
    `[ -z "$hit" ] || touch ${once}`,
    `[ "$hit" != 1 ] || [ ${moment} != before ] || { ${action}; exit 255; }`,
    `if [ "$hit" = 1 ]; then ${sshd.rsh} "$@" >/dev/null; ${action}; exit 255; fi`,
    `exec ${sshd.rsh} "$@"`,
  ];
  await writeFile(script, `${lines.join('\n')}\n`);
  await chmod(script, 0o755);
  return here.command('vzctl', ['migrate', '101', HOST, '--rsh', script, '--fast']);
}
