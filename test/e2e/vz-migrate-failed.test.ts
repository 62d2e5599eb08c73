// SPDX-License-Identifier: Apache-2.0
// `vzctl migrate` that fails: what it says, and what is left on either side.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { run } from '../../src/exec/run.js';
import { lacks } from '../helpers/require.js';
import { configOf, fileIn, hasMoved, HOST, isThere, migrateThrough, status, withTwoHosts } from './two-hosts.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'sshd', 'runc', 'busybox'))('a vzctl migrate that fails', () => {
  it.each(['stopped', '--live'])('for want of room there (%s) says so before anything is stopped or sent', { timeout: 200_000 }, (how) =>
    withTwoHosts(async ({ here, there, migrate }) => {
      const full = join(there.vzRoot, 'private');
      await mkdir(full, { recursive: true });
      await run('mount', ['-t', 'tmpfs', '-o', 'size=32M', 'small', full]);
      const { pid } = await status(here);
      const refused = await migrate(...(how === '--live' ? [how] : []));
      expect(refused).toMatchObject({
        status: 14,
        stderr: expect.stringMatching(/elsewhere: .*needs [\d.]+ MiB, and 32 MiB are free/) as string,
      });
      expect(await status(here)).toMatchObject({ running: true, pid });
      expect(await configOf(here)).not.toContain('MOVING');
      expect(await isThere(join(full, '.101.incoming'))).toBe(false);
      await run('mount', ['-o', 'remount,size=512M', full]);
      expect(await migrate(...(how === '--live' ? [how] : []))).toMatchObject({ status: 0 });
    }),
  );

  it('and can not tell the other host says that, and both ways out', { timeout: 300_000 }, () =>
    withTwoHosts(async (two) => {
      const { here, there } = two;
      const failed = await migrateThrough(two, 'after register', 'cut_off');
      expect(failed).toMatchObject({ status: 20, stderr: expect.stringContaining('started here again') as string });
      expect(failed.stderr).toMatch(/elsewhere could not be told, .*container 101 stays: .*the host is gone/);
      expect(failed.stderr).toContain(`vzctl migrate 101 ${HOST}`);
      expect(failed.stderr).toContain(`vzctl destroy 101 on ${HOST}`);
      expect(await status(here)).toMatchObject({ running: true });
      // What is said to be there is, and nothing starts it.
      expect(await there.command('vzctl', ['start', '101'])).toMatchObject({ status: 31 });
      await there.vzctl('destroy', '101');
      expect(await status(there)).toMatchObject({ exists: false });
      expect(await fileIn(here)).toBe('first');
      expect((await migrateThrough(two, 'after register', 'cut_off')).status).toBe(20);
      expect(await two.migrate()).toMatchObject({ status: 0 });
      await hasMoved(two);
    }),
  );

  it('and tells the other host does not say otherwise', { timeout: 200_000 }, () =>
    withTwoHosts(async (two) => {
      const { status: exit, stderr } = await migrateThrough(two, 'before register', 'exit 255');
      expect(exit).toBe(20);
      expect(stderr).not.toContain('could not be told');
      expect(await status(two.there)).toMatchObject({ exists: false });
    }),
  );
});
