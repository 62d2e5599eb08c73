// SPDX-License-Identifier: Apache-2.0
// Real runtimes on a real root: once for each runtime that is installed.
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { cgroupPath, cgroupTasks } from '../../src/container/runtime/cgroups.js';
import {
  deleteContainer,
  killContainer,
  recordedRuntime,
  type Runtime,
  runtimeState,
  runtimeStates,
} from '../../src/container/runtime/driver.js';
import { lacks } from '../helpers/require.js';
import { withDirectoryContainer } from './rootfs.js';

async function untilStopped(runtime: Runtime): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if ((await runtimeState(runtime))?.status === 'stopped') return;
    await sleep(50);
  }
  throw new Error('the container did not stop within 10 s');
}

const timeout = 40_000;

for (const name of ['runc', 'crun'] as const) {
  describe.skipIf(lacks('root', name, 'busybox'))(name, () => {
    it('boots busybox init, runs commands and reports their status and output', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, exec, runtime }) => {
        expect(await runtimeState(runtime)).toBeNull();
        expect((await start()).kind).toBe('busybox');
        expect(await runtimeState(runtime)).toMatchObject({ status: 'running' });
        expect((await exec('hostname')).stdout).toBe('inner.example.org\n');
        expect(await exec('sh', '-c', 'echo out; echo err >&2; exit 7')).toMatchObject({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' });
        expect((await exec('cat', '/proc/1/comm')).stdout.trim()).toBe('init');
      });
    });

    it('isolates: its own processes, network and control group, and no way to the host by /proc/sys', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, exec, runtime }) => {
        await start();
        const links = (await exec('ip', '-o', 'link')).stdout.trim().split('\n');
        expect(links).toHaveLength(1);
        expect(links[0]).toContain('lo:');
        expect((await exec('sh', '-c', 'ls -d /proc/[0-9]* | wc -l')).stdout.trim()).toMatch(/^[1-9]$/);
        expect((await exec('cat', '/proc/1/cgroup')).stdout).not.toContain(cgroupPath(runtime.id));
        expect((await exec('sh', '-c', 'echo x > /proc/sys/kernel/core_pattern')).exitCode).not.toBe(0);
        expect((await exec('mount', '-t', 'tmpfs', 'none', '/mnt')).exitCode).not.toBe(0);
        expect(await cgroupTasks(runtime.cgroups, runtime.id)).toBeGreaterThanOrEqual(1);
      });
    });

    it('shuts busybox init down by its signal and keeps what it said', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, runtime, log, paths }) => {
        const init = await start();
        if (!('signal' in init.stop)) throw new Error('busybox is stopped by a signal');
        await killContainer(runtime, init.stop.signal);
        await untilStopped(runtime);
        expect(await log()).toContain('The system is going down');
        await deleteContainer(runtime);
        expect(await runtimeState(runtime)).toBeNull();
        expect(await recordedRuntime(paths)).toBeNull();
      });
    });

    it('starts a root without init, reaps orphans and ends in order', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, exec, runtime, rootfs }) => {
        await rm(join(rootfs, 'sbin/init'));
        const init = await start();
        expect(init.kind).toBe('fallback');
        expect((await exec('cat', '/proc/1/comm')).stdout.trim()).toBe('init');
        await exec('sh', '-c', '(sleep 0.1 &) ; (sleep 0.1 &)');
        await sleep(400);
        expect((await exec('sh', '-c', 'grep -l "^State:.Z" /proc/[0-9]*/status; true')).stdout).toBe('');
        await exec('sh', '-c', "(trap 'echo bye > /bye; exit' TERM; while :; do sleep 0.1; done) </dev/null >/dev/null 2>&1 &");
        await killContainer(runtime, 15);
        await untilStopped(runtime);
        // It had the time to say good-bye, and nothing of ours stays in the root.
        await access(join(rootfs, 'bye'));
        await expect(access(join(rootfs, 'run/ploop'))).rejects.toThrow('ENOENT');
      });
    });

    it('notices that init has ended by itself', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, runtime }) => {
        await start();
        const { pid } = (await runtimeState(runtime)) ?? { pid: 0 };
        process.kill(pid, 'SIGKILL');
        await untilStopped(runtime);
        expect((await runtimeStates(runtime)).get(runtime.id)?.status).toBe('stopped');
        await deleteContainer(runtime);
        await start();
        expect(await runtimeState(runtime)).toMatchObject({ status: 'running' });
      });
    });

    it('says why a container cannot be created, and leaves nothing of it', { timeout }, async () => {
      await withDirectoryContainer(name, async ({ start, runtime, rootfs }) => {
        await rm(rootfs, { recursive: true });
        await expect(start()).rejects.toMatchObject({
          code: 'TOOL_FAILED',
          message: expect.stringMatching(/rootfs|no such file/i) as string,
        });
        expect(await runtimeState(runtime)).toBeNull();
      });
    });
  });
}
