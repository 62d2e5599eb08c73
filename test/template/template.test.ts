// SPDX-License-Identifier: Apache-2.0
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { listTemplates, templateNameOf } from '../../src/template/cache.js';
import { nearMisses } from '../../src/template/near-misses.js';
import { resolveTemplate } from '../../src/template/resolve.js';
import { lacks } from '../helpers/require.js';

let cacheDir: string;

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'ploop-template-'));
  const files = ['debian-12-x86_64.tar.zst', 'debian-13-x86_64.tar.xz', 'twice.tar', 'twice.tar.gz', 'README', 'half.tar.partial'];
  for (const file of files) await writeFile(join(cacheDir, file), file);
  await mkdir(join(cacheDir, 'directory.tar'));
});

afterAll(() => rm(cacheDir, { recursive: true }));

describe('the template cache', () => {
  it('lists tarballs by name and nothing else', async () => {
    const names = (await listTemplates({ cacheDir })).map((template) => template.name);
    expect(names).toEqual(['debian-12-x86_64', 'debian-13-x86_64', 'twice', 'twice']);
  });

  it('is empty when there is no directory', async () => {
    expect(await listTemplates({ cacheDir: join(cacheDir, 'none') })).toEqual([]);
  });

  it.each(['debian-12-x86_64', 'debian-12-x86_64.tar.zst'])('finds %s', async (word) => {
    expect(await resolveTemplate(word, { cacheDir })).toMatchObject({
      name: 'debian-12-x86_64',
      path: join(cacheDir, 'debian-12-x86_64.tar.zst'),
    });
  });

  it('takes the path of a tarball elsewhere', async () => {
    const path = join(cacheDir, 'debian-13-x86_64.tar.xz');
    expect(await resolveTemplate(path, { cacheDir: '/nonexistent' })).toMatchObject({ name: 'debian-13-x86_64', path });
  });

  it('says what there is, and what may have been meant, when a name is unknown', async () => {
    await expect(resolveTemplate('debain-12-x86_64', { cacheDir })).rejects.toMatchObject({
      code: 'TEMPLATE_NOT_FOUND',
      exitStatus: 27,
      message: expect.stringContaining('holds: debian-12-x86_64, debian-13-x86_64, twice') as string,
      hint: 'Did you mean debian-12-x86_64 or debian-13-x86_64?',
    });
  });

  it('wants the file name when a name means several tarballs', async () => {
    await expect(resolveTemplate('twice', { cacheDir })).rejects.toMatchObject({
      code: 'AMBIGUOUS_ID',
      message: expect.stringContaining('twice.tar, twice.tar.gz') as string,
    });
    expect(await resolveTemplate('twice.tar.gz', { cacheDir })).toMatchObject({ path: join(cacheDir, 'twice.tar.gz') });
  });

  it.each([
    ['', 'INVALID_ARGUMENT'],
    ['/', 'INVALID_ARGUMENT'],
    ['./no-such.tar', 'TEMPLATE_NOT_FOUND'],
  ])('refuses %j', async (word, code) => {
    await expect(resolveTemplate(word, { cacheDir })).rejects.toMatchObject({ code });
  });

  it('knows the name in a file name', () => {
    expect(['a.tar', 'a-1.2.tar.zst', 'a.tgz', '.tar', 'a.zip'].map(templateNameOf)).toEqual([
      'a',
      'a-1.2',
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('guesses only at words that are near', () => {
    expect(nearMisses('debian', ['debian-12', 'fedora', 'my-debian'])).toEqual(['debian-12', 'my-debian']);
    expect(nearMisses('x', ['abc', 'sles'])).toEqual([]);
  });
});

describe('the busybox template', () => {
  it('is a root file system with init, a shell and its commands', async () => {
    const { path, name } = await makeBusyboxTemplate(join(cacheDir, 'busybox.tar.gz'));
    expect(name).toBe('busybox');
    const { stdout } = await run('tar', ['--list', '--verbose', '--numeric-owner', `--file=${path}`]);
    for (const link of ['./sbin/init -> /bin/busybox', './bin/sh -> /bin/busybox']) expect(stdout).toContain(link);
    expect(stdout).toMatch(/^-rwxr-xr-x 0\/0 +\d+ .* \.\/bin\/busybox$/m);
    expect(stdout).toMatch(/^drwxrwxrwt 0\/0 .* \.\/tmp\/$/m);
  });

  it('is the same each time it is made', async () => {
    const first = await makeBusyboxTemplate(join(cacheDir, 'one.tar'));
    const second = await makeBusyboxTemplate(join(cacheDir, 'two.tar'));
    expect((await readFile(first.path)).equals(await readFile(second.path))).toBe(true);
  });

  it('leaves nothing behind when it fails', async () => {
    await expect(makeBusyboxTemplate(join(cacheDir, 'no/such/place.tar'))).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    await expect(makeBusyboxTemplate(join(cacheDir, 'x.zip'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(stat(join(cacheDir, 'x.zip'))).rejects.toThrow();
  });

  it.skipIf(lacks('root'))('runs in a root of its own', async () => {
    const { path } = await makeBusyboxTemplate(join(cacheDir, 'run.tar'));
    const root = join(cacheDir, 'root');
    await mkdir(root);
    await run('tar', ['--extract', `--file=${path}`, `--directory=${root}`]);
    const { stdout } = await run('chroot', [root, '/bin/sh', '-c', '. /etc/os-release; echo $ID; ls /sbin/init; id -u']);
    expect(stdout).toBe('busybox\n/sbin/init\n0\n');
  });
});
