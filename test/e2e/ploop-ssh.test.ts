// SPDX-License-Identifier: Apache-2.0
// Copies and streams to another host through a real sshd.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { type CommandOutcome, ploop, startCommand } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { makeScratch, type Scratch } from '../helpers/scratch.js';
import { type Sshd, startSshd } from '../helpers/sshd.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'sshd'))('over ssh', () => {
  let scratch: Scratch;
  let there: Scratch;
  let sshd: Sshd;
  let src: string;
  let dst: string;
  let mountPoint: string;

  beforeEach(async () => {
    there = await makeScratch();
    scratch = await makeScratch();
    [src, dst, mountPoint] = [scratch.path('src'), there.path('dst'), scratch.path('mnt')];
    sshd = await startSshd(scratch.path('ssh'), { PLOOP_RUN_DIR: there.runDir });
    await mkdir(mountPoint);
    await ploop('create', src, '--size', '64M');
    expect(await ploop('mount', src, mountPoint)).toMatchObject({ status: 0 });
    await writeFile(join(mountPoint, 'file'), 'first');
  });
  afterEach(async () => {
    await ploop('umount', mountPoint);
    await sshd.stop();
    await scratch.clean();
    await there.clean();
  });

  /** With its run directory: as the other host would. */
  const elsewhere = (...args: string[]): Promise<CommandOutcome> => startCommand('ploop', args, { PLOOP_RUN_DIR: there.runDir }).ended;
  const fileThere = async (): Promise<string> => {
    const seen = there.path('mnt');
    await mkdir(seen, { recursive: true });
    expect(await elsewhere('mount', dst, seen)).toMatchObject({ status: 0 });
    const text = await readFile(join(seen, 'file'), 'utf8');
    expect(await elsewhere('umount', seen)).toMatchObject({ status: 0 });
    return text;
  };

  it('ploop copy --live moves a mounted image and hands over there', async () => {
    const base = await ploop('copy', src, `elsewhere:${dst}`, '--rsh', sshd.rsh, '--keep', 'base', '--json');
    expect(base).toMatchObject({ status: 0 });
    await writeFile(join(mountPoint, 'file'), 'second');
    const handover = `${sshd.rsh} elsewhere ploop check "\${PLOOP_DESTINATION#*:}"`;
    const live = await ploop('copy', src, `elsewhere:${dst}`, '--live', '--rsh', sshd.rsh, '--handover', handover);
    expect(live).toMatchObject({ status: 0, stderr: expect.stringContaining('handed over') as string });
    expect(await fileThere()).toBe('second');
  });

  it('send and receive are a pipe', async () => {
    expect(await ploop('snapshot', src, '--name', 'then')).toMatchObject({ status: 0 });
    const bin = fileURLToPath(new URL('../../bin/ploop.js', import.meta.url));
    const line = `${process.execPath} ${bin} send ${src} | ${sshd.rsh} elsewhere ploop receive ${dst}`;
    await run('bash', ['-o', 'pipefail', '-c', line], { timeoutMs: 60_000 });
    expect(await fileThere()).toBe('first');
  });

  it('a host that does not let us in, or has no image there, is told by name', async () => {
    const refused = await ploop('copy', src, `elsewhere:${dst}`, '--rsh', `${sshd.rsh} -o PubkeyAuthentication=no`);
    expect(refused.stderr).toMatch(/elsewhere: ploop could not be run there.*Permission denied/s);
    const nowhere = await ploop('copy', src, `elsewhere:${there.path('no/such/place')}`, '--rsh', sshd.rsh);
    expect(nowhere.stderr).toContain('elsewhere: ');
    for (const one of [refused, nowhere]) expect(one.status).not.toBe(0);
  });
});
