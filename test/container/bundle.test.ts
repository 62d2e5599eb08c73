// SPDX-License-Identifier: Apache-2.0
// What goes into a bundle: init detection, host control groups, config.json.
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseMountinfo } from '../../src/attach/mounts.js';
import { words } from '../../src/container/exec.js';
import { diskspaceOf } from '../../src/container/list.js';
import { bundleConfig } from '../../src/container/runtime/bundle.js';
import { chooseRuntime, runtimeOrder } from '../../src/container/runtime/choose.js';
import { classifyCgroups } from '../../src/container/runtime/cgroups.js';
import { detectInit, findShell, resolveInRoot } from '../../src/container/runtime/init.js';

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'ploop-root-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

async function file(path: string, mode = 0o755): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), '');
  await chmod(join(root, path), mode);
}

async function link(path: string, target: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await symlink(target, join(root, path));
}

describe('detectInit', () => {
  it('knows systemd behind a merged /usr and an absolute link', async () => {
    await file('usr/lib/systemd/systemd');
    await link('usr/sbin/init', '/lib/systemd/systemd');
    await link('lib', 'usr/lib');
    await link('sbin', 'usr/sbin');
    expect(await detectInit(root)).toEqual({ kind: 'systemd', path: '/sbin/init', stop: { signal: 37 } });
  });

  it('knows busybox, sysvinit and an unknown init', async () => {
    await file('bin/busybox');
    await link('sbin/init', '../bin/busybox');
    expect(await detectInit(root)).toMatchObject({ kind: 'busybox', stop: { signal: 12 } });
    await rm(join(root, 'sbin/init'));
    await file('sbin/init');
    expect(await detectInit(root)).toMatchObject({ kind: 'other', stop: { signal: 15 } });
    await file('etc/inittab', 0o644);
    expect(await detectInit(root)).toMatchObject({ kind: 'sysvinit', stop: { command: ['/sbin/init', '0'] } });
  });

  it('falls back when there is none, or only one that cannot run', async () => {
    expect(await detectInit(root)).toMatchObject({ kind: 'fallback', path: '/run/ploop/init' });
    await file('sbin/init', 0o644);
    expect((await detectInit(root)).kind).toBe('fallback');
  });

  it('never looks outside the root', async () => {
    await link('sbin', '/../../../bin');
    await link('loop', 'loop');
    expect(await resolveInRoot(root, '/sbin/sh')).toBeNull();
    expect(await resolveInRoot(root, '/loop')).toBeNull();
    expect(await resolveInRoot(root, '/../..')).toBe('/');
    expect(await findShell(root)).toBeNull();
  });
});

describe('classifyCgroups', () => {
  const mount = (place: string, type: string): string => `30 24 0:27 / ${place} rw,relatime - ${type} ${type} rw`;
  const classify = (...lines: string[]) => classifyCgroups(parseMountinfo(lines.join('\n')));

  it('tells v1, hybrid, v2 and none apart', () => {
    expect(classify(mount('/sys/fs/cgroup/pids', 'cgroup')).mode).toBe('v1');
    expect(classify(mount('/sys/fs/cgroup/pids', 'cgroup'), mount('/sys/fs/cgroup/unified', 'cgroup2'))).toMatchObject({
      mode: 'hybrid',
      unified: '/sys/fs/cgroup/unified',
    });
    expect(classify(mount('/sys/fs/cgroup', 'cgroup2')).mode).toBe('v2');
    expect(classify(mount('/proc', 'proc')).mode).toBe('none');
  });

  it('prefers crun on v2 hosts and runc elsewhere', async () => {
    expect(runtimeOrder('v2')[0]).toBe('crun');
    expect(runtimeOrder('hybrid')[0]).toBe('runc');
    expect(runtimeOrder('v1')[0]).toBe('runc');
    await expect(chooseRuntime('none')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(chooseRuntime('v1', 'no-such-runtime')).rejects.toMatchObject({ code: 'TOOL_MISSING' });
  });
});

describe('bundleConfig', () => {
  const params = { runtimeId: '101.abc', rootfs: '/r', hostname: 'h', fallbackInit: '/usr/lib/ploop-init' };

  it('gives the container namespaces and a group of its own, and no power over the host', () => {
    const config = bundleConfig({ ...params, init: { kind: 'sysvinit', path: '/sbin/init', stop: { signal: 15 } } });
    const text = JSON.stringify(config);
    for (const type of ['pid', 'mount', 'uts', 'ipc', 'network', 'cgroup']) expect(text).toContain(`{"type":"${type}"}`);
    expect(text).toContain('"cgroupsPath":"/ploop/101.abc"');
    for (const name of ['SYS_ADMIN', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_PTRACE', 'SYS_TIME', 'DAC_READ_SEARCH'])
      expect(text).not.toContain(`CAP_${name}"`);
    expect(text).toContain('"relatime","ro"');
    expect(text).not.toContain('ploop-init');
  });

  it('lets systemd write to its groups, and binds the fallback init only where it is needed', () => {
    const systemd = JSON.stringify(bundleConfig({ ...params, init: { kind: 'systemd', path: '/sbin/init', stop: { signal: 37 } } }));
    expect(systemd).toContain('"relatime","rw"');
    const fallback = JSON.stringify(bundleConfig({ ...params, init: { kind: 'fallback', path: '/run/ploop/init', stop: { signal: 15 } } }));
    expect(fallback).toContain('"source":"/usr/lib/ploop-init"');
  });
});

it('gives a shell line to a shell and nothing else', () => {
  expect(words(['ls', '-l', 'a b'])).toEqual(['ls', '-l', 'a b']);
  expect(words(['ls'])).toEqual(['ls']);
  expect(words(['ls | wc -l'])).toEqual(['/bin/sh', '-c', 'ls | wc -l']);
  expect(() => words([])).toThrow('no command');
});

it('reads DISKSPACE as OpenVZ writes it', () => {
  expect(diskspaceOf('10485760:11534336')).toBe(11534336 * 1024);
  expect(diskspaceOf('10G')).toBe(10 * 1024 ** 3);
  expect(diskspaceOf('1.5T:2T')).toBe(2 * 1024 ** 4);
  expect(diskspaceOf('many')).toBeNull();
  expect(diskspaceOf(undefined)).toBeNull();
});
