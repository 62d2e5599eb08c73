// SPDX-License-Identifier: Apache-2.0
// An image with a damaged layer below its top can be attached: what its users see as an I/O error has its reason in the log, once.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { attachImage } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { nativeFile } from '../../src/native/binding.js';
import { ploop } from '../helpers/command.js';
import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'loop', 'fuse', 'ext4'))('an attached image with a damaged layer', () => {
  it('says in its log which file is damaged, where, and what to do, however often it is read', async () => {
    const dir = scratch.path('image');
    await ploop('create', dir, '--size', '128M');
    await ploop('snapshot', dir);
    const base = (await ploop('info', dir, '--json')).json<{ layers: [{ id: string }] }>().layers[0].id;
    await promisify(execFile)(nativeFile('damage'), [dir, 'map-page-crc', base]);
    const { device, attachment } = await attachImage(dir, { runDir: scratch.runDir });
    const read = (): Promise<{ exitCode: number | null }> =>
      run('dd', [`if=${device ?? ''}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct'], { accept: [0, 1] });
    for (let times = 0; times < 5; times++) expect((await read()).exitCode).toBe(1);

    const log = await readFile(join(scratch.runDir, attachment, 'log'), 'utf8');
    const lines = log.split('\n').filter((line) => line.includes('checksum mismatch'));
    expect(lines).toHaveLength(1);
    const said = new RegExp(
      String.raw`layers/${base}\.plp: map page \d+ at byte (\d+): checksum mismatch; requests for bytes \d+ to \d+ of the disk`,
    );
    expect(lines[0]).toMatch(said);
    expect(lines[0]).toContain(`ploop check ${dir}`);
    // The same place as a check names.
    await ploop('detach', dir);
    const { findings } = (await ploop('check', dir, '--json')).json<{ findings: { kind: string; offset: number }[] }>();
    expect(findings).toMatchObject([{ kind: 'map-page', offset: Number(said.exec(lines[0] ?? '')?.[1]) }]);
  });
});
