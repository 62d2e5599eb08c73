// SPDX-License-Identifier: Apache-2.0
// What vzctl and vzlist write with --json, compared with docs/json.md.
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { makeBusyboxTemplate } from '../../src/template/busybox.js';
import { differences } from '../helpers/json-shape.js';
import { lacks } from '../helpers/require.js';
import { type Vz, withVz } from './vz.js';

async function shapeOf(vz: Vz, command: string, ...args: string[]): Promise<void> {
  const value = await vz.json<unknown>(command, '101', ...args);
  expect(differences(`vzctl ${command}`, value)).toEqual([]);
}

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4', 'runtime', 'busybox'))('--json', () => {
  it('has the documented shape for every command of vzctl, and for vzlist', async () => {
    await withVz(async (vz) => {
      await makeBusyboxTemplate(join(vz.vzRoot, 'template/cache/tiny.tar.gz'));
      await shapeOf(vz, 'create', '--ostemplate', 'tiny', '--diskspace', '128M');
      await shapeOf(vz, 'status');
      await shapeOf(vz, 'mount');
      expect(differences('vzctl mount', await vz.json('umount', '101'))).toEqual([]);
      await shapeOf(vz, 'start');
      await shapeOf(vz, 'status');
      await shapeOf(vz, 'snapshot', '--name', 'one');
      await shapeOf(vz, 'snapshot-list');
      await shapeOf(vz, 'compact');
      expect(differences('vzlist', JSON.parse((await vz.command('vzlist', ['--json'])).stdout))).toEqual([]);
      await shapeOf(vz, 'restart', '--fast');
      await shapeOf(vz, 'stop');
      await shapeOf(vz, 'snapshot-switch', '--id', 'one');
      expect(differences('vzctl snapshot-delete', await vz.json('snapshot-delete', '101', '--id', 'one'))).toEqual([]);
      await shapeOf(vz, 'set', '--diskspace', '160M', '--description', 'larger');
      await shapeOf(vz, 'destroy');
    });
  });

  it('has the documented shape for a failure', async () => {
    await withVz(async (vz) => {
      const { status, stdout } = await vz.command('vzctl', ['start', '404', '--json']);
      expect(status).toBe(24);
      expect(differences('A failure', JSON.parse(stdout))).toEqual([]);
    });
  });
});
