// SPDX-License-Identifier: Apache-2.0
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { checkHostname, createContainer } from '../../src/container/create.js';
import { destroyContainer } from '../../src/container/destroy.js';
import { listContainers } from '../../src/container/list.js';
import { withContainerLock } from '../../src/container/place/lock.js';
import { containerPaths, vzRoots } from '../../src/container/place/roots.js';
import { startContainer } from '../../src/container/start.js';
import { containerState } from '../../src/container/state.js';
import { run } from '../../src/exec/run.js';
import { lacks } from '../helpers/require.js';

let directory: string;
let options: { vzRoot: string; runDir: string };
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ploop-lock-'));
  options = { vzRoot: join(directory, 'vz'), runDir: join(directory, 'run') };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('withContainerLock', () => {
  it('lets one command at a time work on a container, and names the holder', async () => {
    const paths = containerPaths('101', vzRoots(options));
    await withContainerLock(paths, 'vzctl start', async () => {
      await expect(withContainerLock(paths, 'vzctl stop', () => Promise.resolve())).rejects.toMatchObject({
        code: 'BUSY',
        message: `container 101 is locked by vzctl start (process ${process.pid})`,
      });
      await withContainerLock(containerPaths('102', vzRoots(options)), 'vzctl stop', () => Promise.resolve());
    });
    expect(await withContainerLock(paths, 'vzctl stop', () => Promise.resolve('free again'))).toBe('free again');
  });

  it('is free again after the work failed, and after its holder was killed', async () => {
    const paths = containerPaths('101', vzRoots(options));
    await expect(withContainerLock(paths, 'a', () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    await run('flock', [paths.lockFile, 'sh', '-c', 'kill -9 $PPID'], { accept: 'any' }).catch(() => undefined);
    expect(await withContainerLock(paths, 'b', () => Promise.resolve(1))).toBe(1);
  });
});

describe('a container that is not there', () => {
  it('is deleted, unmounted and down', async () => {
    expect(await containerState('101', options)).toMatchObject({ exists: false, mounted: false, running: false, runtimeStatus: null });
    expect(await listContainers(options)).toEqual([]);
  });

  it('is not started or destroyed', async () => {
    await expect(startContainer('101', options)).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
    await expect(destroyContainer('101', options)).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  });
});

describe('createContainer', () => {
  it('refuses an unknown template, a bad host name and an existing id, and changes nothing', async () => {
    await expect(createContainer('101', { ...options, ostemplate: 'nothing' })).rejects.toMatchObject({ code: 'TEMPLATE_NOT_FOUND' });
    await expect(createContainer('101', { ...options, ostemplate: 'nothing', hostname: 'a_b' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(access(options.vzRoot)).rejects.toThrow('ENOENT');
    await mkdir(join(options.vzRoot, 'conf'), { recursive: true });
    await writeFile(join(options.vzRoot, 'conf/101.conf'), '');
    await expect(createContainer('101', { ...options, ostemplate: 'nothing' })).rejects.toMatchObject({ code: 'EXISTS' });
  });

  it.skipIf(lacks('root'))('leaves nothing when the template is not an archive', async () => {
    const template = join(directory, 'bad.tar');
    await writeFile(template, 'not a tar archive');
    await expect(createContainer('101', { ...options, ostemplate: template })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await containerState('101', options)).toMatchObject({ exists: false });
    await expect(access(join(options.vzRoot, 'private/.101.creating'))).rejects.toThrow('ENOENT');
    await expect(access(join(options.vzRoot, 'private/101'))).rejects.toThrow('ENOENT');
  });

  it.each(['a', 'web-1', 'web.example.org', 'A1'])('takes the host name %s', (name) => expect(checkHostname(name)).toBe(name));
  it.each(['', '-a', 'a-', 'a..b', 'a_b', 'a b', 'x'.repeat(65)])('refuses the host name %j', (name) => {
    expect(() => checkHostname(name)).toThrow('is not a host name');
  });
});
