// SPDX-License-Identifier: Apache-2.0
// `ploop umount`: the way back from `ploop mount`.
import { unmountImage, type UnmountedImage } from '../../filesystem/image/unmount.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { collectOptions, text, word } from './image-argument.js';

export const umountCommand: Command = {
  name: 'umount',
  aliases: ['unmount'],
  summary: 'unmount an image and detach it',
  description:
    'Unmounts the image named by its directory, a mount point or its device, and detaches it. When it is busy, nothing changes and the ' +
    'processes that use it are listed. Works, too, after the daemon of the image was killed.',
  arguments: [{ name: 'target', summary: 'the directory of the image, a mount point, or a device', required: true }],
  options: [{ flags: '--snapshot <id>', summary: 'with a directory: unmount this snapshot' }],
  examples: [
    ['ploop umount /mnt', 'by mount point'],
    ['ploop umount /vz/web', 'by image'],
  ],
  run: umount,
};

async function umount(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const target = word(args, 'target');
  const done = await unmountImage(target, { snapshot: text(options['snapshot']), ...collectOptions(ctx) });
  if (done.writeErrors) {
    ctx.note('The image refused writes, so not all that was written is stored. The kernel log (dmesg) and the space on the host say why.');
  }
  ctx.result(done, render(done));
}

function render(done: UnmountedImage): string {
  const { mountPoints, remaining, device, directory, detached } = done;
  const from = mountPoints.length === 0 ? 'was not mounted any more' : `unmounted from ${mountPoints.join(', ')}`;
  const then = detached
    ? `${device ?? 'its device'} detached`
    : `still mounted on ${remaining.join(', ')}, so ${device ?? 'its device'} stays`;
  return `${directory} ${from}; ${then}`;
}
