// SPDX-License-Identifier: Apache-2.0
// `vzctl migrate` to another host through a real sshd: what moves, what is refused before anything is stopped, and whose the
// container is when either side dies or the connection breaks, at every step of the way.
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import type { MigratedContainer } from '../../src/container/move/migrate.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { configOf, fileIn, hasMoved, isThere, migrateThrough, status, withTwoHosts } from './two-hosts.js';
import { leftovers, withVz } from './vz.js';

describe.skipIf(lacks('root', 'fuse', 'loop', 'ext4', 'sshd', 'runc', 'busybox'))('vzctl migrate', () => {
  it('--live moves a running container with its disk, snapshots and configuration (JSON as documented)', { timeout: 200_000 }, () =>
    withTwoHosts(async (two) => {
      const outcome = await two.migrate('--live', '--json');
      expect(outcome).toMatchObject({ status: 0 });
      const moved = JSON.parse(outcome.stdout) as MigratedContainer;
      expect(differences('vzctl migrate', moved)).toEqual([]);
      expect(moved).toMatchObject({ running: true, kept: null });
      expect(moved.rounds.length).toBeGreaterThanOrEqual(2);
      // The last one is what has changed since, not the disk.
      expect(moved.rounds.at(-1)?.dataBytes).toBeLessThan((moved.rounds[0]?.dataBytes ?? 0) / 2);
      await hasMoved(two);
      expect(await configOf(two.there)).toMatch(/DESCRIPTION="one of mine"[^]*IOPSLIMIT="5000"/);
    }),
  );

  it('--keep keeps a stopped one here under other names; a stopped container arrives stopped', { timeout: 200_000 }, () =>
    withTwoHosts(async ({ here, there, migrate }) => {
      await here.vzctl('stop', '101', '--fast');
      expect(await migrate('--keep')).toMatchObject({ status: 0, stdout: expect.stringContaining('where it is stopped') as string });
      expect(await status(there)).toMatchObject({ exists: true, running: false });
      expect(await status(here)).toMatchObject({ exists: false });
      expect(await isThere(join(here.vzRoot, 'private/.101.migrated/root.hdd/image.json'))).toBe(true);
      expect(await isThere(join(here.vzRoot, 'conf/101.conf.migrated'))).toBe(true);
      await there.vzctl('start', '101');
      expect(await fileIn(there)).toBe('first');
    }),
  );

  it('refuses an id that is taken and a host without a runtime before anything is stopped', { timeout: 200_000 }, () =>
    withTwoHosts(
      async ({ here, there, migrate }) => {
        expect(await migrate()).toMatchObject({ status: 19, stderr: expect.stringContaining('no-such-runtime') as string });
        await mkdir(join(there.vzRoot, 'private/101'), { recursive: true });
        expect(await migrate('--live')).toMatchObject({ status: 6, stderr: expect.stringContaining('vzctl destroy 101') as string });
        expect(await here.command('vzctl', ['migrate', '101', '-oProxyCommand=x'])).toMatchObject({ status: 2 });
        expect(await status(here)).toMatchObject({ running: true });
        expect(await configOf(here)).not.toContain('MOVING');
      },
      { PLOOP_RUNTIME: '/no-such-runtime' },
    ),
  );

  it('starts it here again when it cannot be started there', { timeout: 200_000 }, () =>
    withVz(async ({ directory }) => {
      const broken = join(directory, 'broken');
      await writeFile(broken, '#!/bin/sh\ncase " $* " in *" create "*) echo this host is broken >&2; exit 1 ;; esac\nexec runc "$@"\n');
      await chmod(broken, 0o755);
      await withTwoHosts(
        async ({ here, there, migrate }) => {
          const outcome = await migrate();
          expect(outcome.status).not.toBe(0);
          expect(outcome.stderr).toContain('started here again');
          expect(await status(here)).toMatchObject({ running: true });
          expect(await configOf(here)).not.toContain('MOVING');
          expect(await status(there)).toMatchObject({ exists: false, running: false });
          expect(await leftovers(there)).toEqual([]);
          await there.vzctl('destroy', '101');
        },
        { PLOOP_RUNTIME: broken },
      );
    }),
  );

  it('killed at any step it leaves one container, which the same command moves in the end', { timeout: 400_000 }, () =>
    withTwoHosts(async (two) => {
      const { here, there } = two;
      for (const death of ['prepare', 'receive', 'register', 'start'].flatMap((step) => [`before ${step}`, `after ${step}`])) {
        // It runs, or may not: what the last death has left undecided is not started.
        const { status: started } = await here.command('vzctl', ['start', '101']);
        expect([death, started]).toEqual([death, death === 'after start' ? 31 : started === 0 ? 0 : 25]);
        expect([death, (await migrateThrough(two, death, 'kill -9 $PPID')).status]).toEqual([death, 137]);
        const [first, second] = [await status(here), await status(there)];
        expect([death, first.exists, first.running && second.running]).toEqual([death, true, false]);
        if (second.exists && !second.running) expect(await there.command('vzctl', ['start', '101'])).toMatchObject({ status: 31 });
      }
      expect(await two.migrate()).toMatchObject({ status: 0, stderr: expect.stringContaining('Going on with the move') as string });
      await hasMoved(two);
    }),
  );

  it('knows whose it is when the connection breaks', { timeout: 300_000 }, () =>
    withTwoHosts(async (two) => {
      for (const when of ['after prepare', 'after receive', 'after register', 'before start']) {
        const { status: failed, stderr } = await migrateThrough(two, when, 'exit 255');
        expect([when, failed, stderr.includes('could not be run there')]).toEqual([when, 20, true]);
        expect([when, (await status(two.here)).running, (await status(two.there)).exists]).toEqual([when, true, false]);
      }
      expect(await configOf(two.here)).not.toContain('MOVING');
      expect(await migrateThrough(two, 'after start', 'exit 255')).toMatchObject({ status: 0 });
      await hasMoved(two);
    }),
  );
});
