// SPDX-License-Identifier: Apache-2.0
// Extended headers with a real client: qemu 10 from Debian's backports, on a disk of 1 TiB.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { unexportImage } from '../../../src/attach/exports.js';
import { run } from '../../../src/exec/run.js';
import { native } from '../../../src/native/index.js';
import { lacks } from '../../helpers/require.js';
import { makeScratch, type Scratch } from '../../helpers/scratch.js';
import { createImage } from '../device.js';
import { client, exported } from './exported.js';

const GIB = 2 ** 30;

/** The folder of qemu-img and qemu-io, fetched once. */
async function newerQemu(): Promise<string> {
  const cache = join(process.env.PLOOP_TEST_CACHE ?? '/var/tmp/ploop-test-cache', 'guest');
  await mkdir(cache, { recursive: true });
  const fetch = join(import.meta.dirname, '../../guest/fetch.sh');
  const { stdout } = await run(fetch, [cache, 'bookworm-backports', 'qemu-utils'], { timeoutMs: 400_000 });
  return join(stdout.trim(), 'usr/bin');
}

describe.skipIf(lacks('root', 'fuse', 'guest'))('an NBD client with extended headers', () => {
  let scratch: Scratch;
  let qemu: string;

  beforeAll(async () => {
    scratch = await makeScratch();
    qemu = await newerQemu();
  }, 420_000);
  afterAll(() => scratch.clean());

  it('looks at 1 TiB and zeroes it in one request each, reads and writes', async () => {
    const dir = await createImage(scratch, 'large', 1024 * GIB);
    const { uri } = await exported(scratch, dir);
    const io = (...commands: string[]): Promise<string> =>
      client(join(qemu, 'qemu-io'), '--trace', 'nbd_*', '-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri).then(
        ({ stderr }) => stderr,
      );
    const map = async (): Promise<unknown> => {
      const { stdout } = await client(join(qemu, 'qemu-img'), 'map', '--output=json', '-f', 'raw', uri);
      return (JSON.parse(stdout) as { start: number; length: number; zero: boolean }[]).map(({ start, length, zero }) => [
        start,
        length,
        zero,
      ]);
    };
    const said = await io('write -P 9 5G 4k', 'write -P 7 700G 64k', 'read -P 9 5G 4k', 'read -P 7 700G 64k');
    expect(said).toContain('option reply 11 (extended headers), type 1 (ack)');
    const [first, second, end] = [5 * GIB, 700 * GIB, 1024 * GIB];
    expect(await map()).toEqual([
      [0, first, true],
      [first, 4096, false],
      [first + 4096, second - first - 4096, true],
      [second, 65_536, false],
      [second + 65_536, end - second - 65_536, true],
    ]);
    expect(await io('write -z -n -u 0 1T')).toContain(`.len = ${end}, .cookie = 1, .flags = 0x11, .type = 6 (write zeroes)`);
    expect(await map()).toEqual([[0, end, true]]);
    await unexportImage(dir, { runDir: scratch.runDir });
    expect((await native.check(dir)).findings).toEqual([]);
  });
});
