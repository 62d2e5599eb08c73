// SPDX-License-Identifier: Apache-2.0
// What is left to do for snapshots that were deleted from an image that is not attached.
import { beforeEach, describe, expect, it } from 'vitest';

import { cancelJob, deleteSnapshot, listJobs, waitJob } from '../../src/attach/jobs.js';
import { native } from '../../src/native/index.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

describe('jobs of a detached image', () => {
  let dir: string;
  let trunk: string;
  scratchPerTest(({ image }) => void (dir = image));
  beforeEach(async () => {
    await native.create(dir, { size: 2 ** 24 });
    trunk = await native.snapshot(dir, { name: 'trunk' });
  });

  it('are stopped, until the snapshot is deleted again', async () => {
    expect(await listJobs(dir)).toEqual([]);
    await native.deleteSnapshot(dir, 'trunk', { merge: false });
    const left = { id: trunk, kind: 'delete', name: 'trunk', state: 'stopped', done: 0, total: 0, rate: 0, error: null };
    expect(await listJobs(dir)).toEqual([left]);
    expect((await native.info(dir)).layers).toHaveLength(2);
    expect(await deleteSnapshot(dir, trunk)).toMatchObject({ done: true, kept: false });
    expect(await listJobs(dir)).toEqual([]);
    expect((await native.info(dir)).layers).toHaveLength(1);
  });

  it('are kept, as long as two branches need the layer', async () => {
    await native.snapshot(dir, { name: 'branch' });
    await native.switchTo(dir, 'trunk');
    expect(await deleteSnapshot(dir, 'trunk')).toMatchObject({ done: true, kept: true });
    expect(await listJobs(dir)).toMatchObject([{ id: trunk, state: 'kept' }]);
    expect(await deleteSnapshot(dir, 'branch')).toMatchObject({ done: true, kept: false });
    expect(await listJobs(dir)).toEqual([]);
  });

  it('are not waited for and not cancelled: nothing runs', async () => {
    await native.deleteSnapshot(dir, 'trunk', { merge: false });
    const refused = { code: 'NOT_ATTACHED', hint: expect.stringContaining('ploop snapshot-delete') as string };
    await expect(waitJob(dir, trunk)).rejects.toMatchObject(refused);
    await expect(cancelJob(dir, trunk)).rejects.toMatchObject(refused);
  });
});
