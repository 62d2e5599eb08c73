// SPDX-License-Identifier: Apache-2.0
// Kills below a mounted ext4 and a running container that writes files, fsyncs them and notes their checksums.
import { join } from 'node:path';

import { run } from '../../src/exec/run.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { withVz } from '../e2e/vz.js';
import { addFigures, type Figures, noFigures } from './figures.js';
import { checked } from './device.js';
import { killOften, type KillOptions, onlyFolder } from './killer.js';

/** Two writers; each file is written, fsynced and summed, in a ring of 16. Ends with status 1 at the first error. */
const WRITERS = `
writer() {
  i=0
  while [ ! -e stop ]; do
    n=$1.$((i % 16)); i=$((i + 1))
    dd if=/dev/urandom of=f.$n bs=16k count=$((1 + i % 24)) conv=fsync 2>/dev/null || return 1
    sha256sum f.$n > s.$n || return 1
    sync s.$n || return 1
  done
  echo $i > written.$1
}
cd /root && rm -f stop && writer a & cd /root && writer b & wait %1 && wait %2 && sync`;

export async function killUnderContainer(options: KillOptions): Promise<Figures> {
  return withVz(async (vz) => {
    await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
    await vz.vzctl('create', '101', '--ostemplate', 'tiny', '--diskspace', '256M');
    await vz.vzctl('start', '101');
    const folder = await onlyFolder(vz.runDir);
    const writing = vz.command('vzctl', ['exec', '101', 'sh', '-c', WRITERS]);
    let figures = await killOften(folder, options);
    await vz.vzctl('exec', '101', 'touch', '/root/stop');
    const wrote = await writing;
    if (wrote.status !== 0) figures.ioErrors++;
    const written = await vz.vzctl('exec', '101', 'cat /root/written.a /root/written.b');
    figures.requests = written.split('\n').reduce((sum, line) => sum + Number(line), 0);
    // A fresh mount: what is compared comes from the image, not from the page cache.
    await vz.vzctl('stop', '101');
    await vz.vzctl('start', '101');
    const sums = await vz.command('vzctl', ['exec', '101', 'cd /root && cat s.* | sha256sum -c']);
    const bad = sums.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(': OK'));
    if (sums.status !== 0 || bad.length > 0) process.stderr.write(`${sums.stderr}${bad.join('\n')}\n`);
    figures.verifyErrors += Math.max(bad.length, sums.status === 0 ? 0 : 1);
    await vz.vzctl('stop', '101');
    const image = join(vz.vzRoot, 'private/101/root.hdd');
    figures = addFigures(figures, await checked(image));
    return addFigures(figures, await checkedFileSystem(vz, image));
  });
}

async function checkedFileSystem(vz: { command: (program: 'ploop', args: string[]) => Promise<{ stdout: string }> }, image: string) {
  const { device } = JSON.parse((await vz.command('ploop', ['attach', image, '--json'])).stdout) as { device: string };
  const { exitCode, stdout } = await run('fsck.ext4', ['-fn', device], { accept: 'any' });
  if (exitCode !== 0) process.stderr.write(stdout);
  await vz.command('ploop', ['detach', image]);
  return { ...noFigures(), verifyErrors: exitCode === 0 ? 0 : 1 };
}
