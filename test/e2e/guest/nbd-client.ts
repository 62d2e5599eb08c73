// SPDX-License-Identifier: Apache-2.0
// In the guest: the kernel's NBD client on an export, with ext4 on it. Prints one line of JSON.
import { mkdir, readFile, writeFile } from 'node:fs/promises';

import { exportImage, unexportImage } from '../../../src/attach/exports.js';
import { run } from '../../../src/exec/run.js';
import { native } from '../../../src/native/index.js';

const MIB = 1024 * 1024;

// The guest's /tmp is in memory, and gone with it.
process.env.PLOOP_RUN_DIR = '/tmp/run';
await mkdir('/tmp/run');
await mkdir('/tmp/mnt');
await native.create('/tmp/image', { size: 256 * MIB });
await exportImage('/tmp/image', { name: 'disk', socket: '/tmp/disk.sock' });

const queue = async (name: string): Promise<number> => Number(await readFile(`/sys/block/nbd0/queue/${name}`, 'utf8'));
const connect = (): Promise<unknown> =>
  run('nbd-client', ['-unix', '/tmp/disk.sock', '/dev/nbd0', '-name', 'disk', '-block-size', '4096', '-connections', '2']);
const disconnect = (): Promise<unknown> => run('nbd-client', ['-disconnect', '/dev/nbd0']);

await connect();
const sectors = Number(await readFile('/sys/block/nbd0/size', 'utf8'));
const seen = { bytes: sectors * 512, discard: (await queue('discard_max_bytes')) > 0, fua: (await queue('fua')) === 1 };
await run('mkfs.ext4', ['-q', '/dev/nbd0']);
await run('mount', ['-o', 'discard', '/dev/nbd0', '/tmp/mnt']);
const fio = [
  '--name=v',
  '--directory=/tmp/mnt',
  '--size=32M',
  '--rw=randwrite',
  '--bs=4k',
  '--ioengine=libaio',
  '--iodepth=8',
  '--direct=1',
];
await run('fio', [...fio, '--verify=crc32c', '--do_verify=1', '--verify_fatal=1']);
await writeFile('/tmp/mnt/f', 'kept');
await run('umount', ['/tmp/mnt']);
await disconnect();

await connect();
await run('fsck.ext4', ['-fn', '/dev/nbd0']);
await run('mount', ['/dev/nbd0', '/tmp/mnt']);
const content = await readFile('/tmp/mnt/f', 'utf8');
await run('umount', ['/tmp/mnt']);
await disconnect();
await unexportImage('/tmp/image', { force: true });
const { findings } = await native.check('/tmp/image');
process.stdout.write(`${JSON.stringify({ seen, content, findings })}\n`);
