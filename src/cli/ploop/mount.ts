// SPDX-License-Identifier: Apache-2.0
// `ploop mount`: an image, or a snapshot of it, as a mounted file system.
import { resolve } from 'node:path';

import { mountImage } from '../../filesystem/image/mount.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { LIMIT_OPTIONS, limitsOf } from '../limits.js';
import { VIA_OPTION, viaOf } from '../via.js';
import { collectOptions, IMAGE_ARGUMENT, ON_FULL_OPTION, onFull, text, word } from './image-argument.js';

export const mountCommand: Command = {
  name: 'mount',
  summary: 'attach an image and mount its file system',
  description:
    'Attaches the image and mounts its ext4 or xfs on MOUNTPOINT, an existing directory; without one, on a directory that only root ' +
    'may enter. Prints where. When the mount fails, the image is detached again.',
  arguments: [IMAGE_ARGUMENT, { name: 'mountpoint', summary: 'the directory to mount on' }],
  options: [
    { flags: '-r, --read-only', summary: 'refuse writes' },
    { flags: '--snapshot <id>', summary: 'mount this snapshot, read-only, instead of the present state' },
    ON_FULL_OPTION,
    VIA_OPTION,
    ...LIMIT_OPTIONS,
  ],
  examples: [
    ['ploop mount /vz/web /mnt', 'the present state'],
    ['ploop mount /vz/web /mnt --snapshot before-upgrade', 'as it was then'],
  ],
  run: mount,
};

async function mount(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const mounted = await mountImage(dir, {
    mountPoint: text(args['mountpoint']),
    readOnly: options['readOnly'] === true,
    snapshot: text(options['snapshot']),
    onFull: onFull(options),
    ...viaOf(options),
    ...limitsOf(options),
    ...collectOptions(ctx),
  });
  if (mounted.journalSkipped) {
    ctx.note(
      'The journal of the file system was not played back, because the device is read-only. A snapshot that ploop took of a mounted ' +
        'file system is complete all the same; after a crash, the newest changes may be missing.',
    );
  }
  ctx.note(`${mounted.device} (${mounted.type}${mounted.readOnly ? ', read-only' : ''}) is mounted on:`);
  ctx.result({ directory: resolve(dir), ...mounted }, mounted.mountPoint);
}
