// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { makeFileSystem } from '../../src/filesystem/make.js';
import { mountFileSystem } from '../../src/filesystem/mount.js';
import { populate } from '../../src/filesystem/populate.js';
import { checkSource } from '../../src/filesystem/source.js';
import { withLoopDisk, type LoopDisk } from '../helpers/loop.js';
import { lacks } from '../helpers/require.js';

const SIZE_BYTES = 64 * 1024 * 1024;

/** A tree with everything that is easily lost. */
async function makeTree(root: string): Promise<void> {
  await mkdir(join(root, 'd'), { recursive: true });
  const script = `
    echo hello > plain; chown 1234:5678 plain; chmod 4711 plain; touch -d '2001-02-03 04:05:06 UTC' plain
    ln plain d/hardlink; ln -s ../nowhere d/symlink; mknod null c 1 3; mkfifo fifo; echo x > 'nämé with spaces'
    cp /bin/true capable; setcap cap_net_raw+ep capable; setfattr -n user.color -v blue capable
    echo y > shared; setfacl -m u:4321:rw shared; truncate -s 20M sparse; echo end >> sparse
    chmod 1777 d; chown 7:8 .; chmod 750 .`;
  await run('sh', ['-ec', script], { cwd: root });
}

/** What must be the same on both sides, one line a file; sizes of directories differ by file system. */
async function listing(root: string): Promise<string> {
  // The number of links of a directory differs by lost+found.
  const each = ['-printf', '%p %y %m %U %G %T@ %l ', '-type', 'f', '-printf', '%s %n', ',', '-printf', '\\n'];
  const find = ['.', '-not', '-path', './lost+found*', '(', ...each, ')'];
  const { stdout } = await run('find', find, { cwd: root });
  const { stdout: sums } = await run(
    'sh',
    ['-c', 'sha256sum plain capable sparse; getcap capable; getfattr -d capable; getfacl -pn shared; stat -c %t:%T null'],
    {
      cwd: root,
    },
  );
  return stdout.split('\n').toSorted().join('\n') + sums;
}

async function withTarget(work: (disk: LoopDisk) => Promise<void>, sizeBytes = SIZE_BYTES): Promise<void> {
  await withLoopDisk(sizeBytes, async (disk) => {
    await makeFileSystem(disk.device, { type: 'ext4', sizeBytes, fresh: true });
    await mountFileSystem(disk.device, disk.mountPoint, { type: 'ext4' });
    await work(disk);
  });
}

const TAR = ['--create', '--xattrs', '--xattrs-include=*', '--acls', '--sparse', '--numeric-owner'];

describe.skipIf(lacks('root', 'loop', 'ext4'))('filling a file system', () => {
  it.each(['tar', 'tar.gz', 'tar.xz', 'tar.zst', 'tar.bz2', 'directory'])('keeps all there is to a file, from a %s', async (kind) => {
    await withTarget(async ({ directory, mountPoint }) => {
      const tree = join(directory, 'tree');
      await makeTree(tree);
      const source = kind === 'directory' ? tree : join(directory, `root.${kind}`);
      if (kind !== 'directory') await run('tar', [...TAR, '--auto-compress', `--file=${source}`, `--directory=${tree}`, '.']);
      const seen: [number, number][] = [];
      await populate(mountPoint, source, { onProgress: (done, total) => seen.push([done, total]) });
      expect(await listing(mountPoint)).toBe(await listing(tree));
      expect((await stat(join(mountPoint, 'sparse'))).blocks * 512).toBeLessThan(1024 * 1024);
      const [done, total] = seen.at(-1)!;
      expect(done).toBe(total);
    });
  });

  it('recognises an archive by its content, whatever its name', async () => {
    await withTarget(async ({ directory, mountPoint }) => {
      const source = join(directory, 'no-suffix');
      await run('tar', ['--create', '--zstd', `--file=${source}`, '--directory=/etc', 'hostname']);
      await populate(mountPoint, source);
      expect(await readFile(join(mountPoint, 'hostname'), 'utf8')).toBe(await readFile('/etc/hostname', 'utf8'));
    });
  });

  it('says that a source does not fit', async () => {
    await withTarget(
      async ({ directory, mountPoint }) => {
        const source = join(directory, 'big.tar');
        await writeFile(join(directory, 'big'), Buffer.alloc(40 * 1024 * 1024, 1));
        await run('tar', ['--create', `--file=${source}`, `--directory=${directory}`, 'big']);
        await expect(populate(mountPoint, source)).rejects.toMatchObject({
          code: 'NO_SPACE',
          message: expect.stringContaining('big.tar does not fit') as string,
        });
      },
      32 * 1024 * 1024,
    );
  });

  it.each(['tar', 'tar.gz', 'tar.xz', 'tar.zst'])('says that a %s is cut short', async (kind) => {
    await withTarget(async ({ directory, mountPoint }) => {
      const source = join(directory, `cut.${kind}`);
      await run('tar', ['--create', '--auto-compress', `--file=${source}`, '--directory=/usr/bin', 'bash', 'tar']);
      await truncate(source, Math.floor((await stat(source)).size / 2));
      await expect(populate(mountPoint, source)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining('is damaged or not complete') as string,
      });
    });
  });

  it('refuses compressed files that are no archives', async () => {
    await withTarget(async ({ directory, mountPoint }) => {
      await run('sh', ['-c', 'seq 100000 | gzip > numbers.gz'], { cwd: directory });
      await expect(populate(mountPoint, join(directory, 'numbers.gz'))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining('is not a tar archive') as string,
      });
    });
  });

  it('stops when it is interrupted', async () => {
    await withTarget(async ({ directory, mountPoint }) => {
      const source = join(directory, 'big.tar');
      await writeFile(join(directory, 'big'), Buffer.alloc(48 * 1024 * 1024, 1));
      await run('tar', ['--create', `--file=${source}`, `--directory=${directory}`, 'big']);
      const stop = new AbortController();
      const filling = populate(mountPoint, source, { signal: stop.signal });
      setTimeout(() => stop.abort(), 10);
      await expect(filling).rejects.toMatchObject({ code: 'INTERRUPTED' });
    });
  });
});

describe('looking at a source', () => {
  it.each([
    ['/no/such/file', 'NOT_FOUND', 'does not exist'],
    ['/dev/null', 'INVALID_ARGUMENT', 'neither a tar archive nor a directory'],
    ['/etc/passwd', 'INVALID_ARGUMENT', 'is not a tar archive'],
  ])('refuses %s', async (path, code, message) => {
    await expect(checkSource(path)).rejects.toMatchObject({ code, message: expect.stringContaining(message) as string });
  });
});
