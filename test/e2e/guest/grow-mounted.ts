// SPDX-License-Identifier: Apache-2.0
// In the guest: an image with ext4 grows while it is mounted. Prints one line of JSON.
import { mkdir, readFile, writeFile } from 'node:fs/promises';

import { newImage } from '../../../src/filesystem/image/create.js';
import { mountImage } from '../../../src/filesystem/image/mount.js';
import { resizeImage } from '../../../src/filesystem/image/resize.js';
import { unmountImage } from '../../../src/filesystem/image/unmount.js';
import { fileSystemUsage } from '../../../src/filesystem/usage.js';

const MIB = 1024 * 1024;

// The guest's /tmp is in memory, and gone with it.
process.env.PLOOP_RUN_DIR = '/tmp/run';
await mkdir('/tmp/run');
await mkdir('/tmp/mnt');
await newImage('/tmp/image', { sizeBytes: 256 * MIB, fs: 'ext4' });
await mountImage('/tmp/image', { mountPoint: '/tmp/mnt' });
await writeFile('/tmp/mnt/f', 'kept');
const before = await fileSystemUsage('/tmp/mnt');
const resized = await resizeImage('/tmp/image', { sizeBytes: 8192 * MIB });
const after = await fileSystemUsage('/tmp/mnt');
const content = await readFile('/tmp/mnt/f', 'utf8');
await unmountImage('/tmp/image');
process.stdout.write(`${JSON.stringify({ before, resized, after, content })}\n`);
