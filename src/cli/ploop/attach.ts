// SPDX-License-Identifier: Apache-2.0
// `ploop attach`: an image, or a snapshot of it, as a block device.
import { resolve } from 'node:path';

import { attachImage } from '../../attach/ploopd.js';
import { readDescriptor } from '../../image/descriptor.js';
import { collectTemporary } from '../../filesystem/image/collect.js';
import { findSnapshot } from '../../image/snapshots.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { LIMIT_OPTIONS, limitsOf } from '../limits.js';
import { VIA_OPTION, viaOf } from '../via.js';
import { collectOptions, IMAGE_ARGUMENT, ON_FULL_OPTION, onFull, runDirOption, text, word } from './image-argument.js';

export const attachCommand: Command = {
  name: 'attach',
  summary: 'turn an image into a block device',
  description: 'Starts the daemon that serves the image and prints the name of the block device. Nothing is mounted: see mount.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '-r, --read-only', summary: 'refuse writes' },
    { flags: '--snapshot <id>', summary: 'attach this snapshot, read-only, instead of the present state' },
    { flags: '--sector-size <bytes>', summary: 'logical sector size of the device', choices: ['512', '4096'], default: '512' },
    ON_FULL_OPTION,
    VIA_OPTION,
    ...LIMIT_OPTIONS,
  ],
  examples: [['ploop attach /vz/web', 'prints /dev/loop0, say']],
  run: attach,
};

async function attach(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const dir = word(args, 'dir');
  const key = text(options['snapshot']);
  const snapshot = key === undefined ? undefined : findSnapshot(await readDescriptor(dir), key).id;
  const attached = await attachImage(dir, {
    readOnly: options['readOnly'] === true,
    snapshot,
    sectorSizeBytes: options['sectorSize'] === '4096' ? 4096 : 512,
    onFull: onFull(options),
    ...viaOf(options),
    ...limitsOf(options),
    signal: ctx.signal,
    ...runDirOption(ctx),
  });
  if (!attached.readOnly) await collectTemporary(dir, collectOptions(ctx));
  ctx.result({ directory: resolve(dir), snapshot: snapshot ?? null, ...attached }, attached.device ?? '');
}
