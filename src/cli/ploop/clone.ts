// SPDX-License-Identifier: Apache-2.0
// `ploop clone`: a new image that begins with what another one holds. `ploop new-id`: for copies made file by file.
import { resolve } from 'node:path';

import { whileDetached } from '../../attach/operations.js';
import { cloneImage } from '../../filesystem/image/clone.js';
import { native } from '../../native/index.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { collectOptions, IMAGE_ARGUMENT, runDirOption, text, word } from './image-argument.js';

export const cloneCommand: Command = {
  name: 'clone',
  summary: 'make a new image over a snapshot of another',
  description:
    'Takes milliseconds and no space: both images use the same layer files, and either can be removed first. ' +
    'Without --snapshot it begins with the present state; the source may be in use, and is frozen for a moment.',
  arguments: [
    IMAGE_ARGUMENT,
    { name: 'target', summary: 'the new image: a directory that does not exist or is empty, on the same file system', required: true },
  ],
  options: [
    { flags: '--snapshot <id>', summary: 'begin with this snapshot' },
    { flags: '--label <label>', summary: 'a label of its own' },
    { flags: '--copy', summary: 'copy the layers where files cannot be shared' },
  ],
  examples: [['ploop clone /vz/web /vz/web2 --snapshot before-upgrade', 'both go on from there']],
  run: clone,
};

async function clone(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const [dir, target] = [word(args, 'dir'), word(args, 'target')];
  const done = await cloneImage(dir, target, {
    snapshot: text(options['snapshot']),
    label: text(options['label']),
    copy: options['copy'] === true,
    ...collectOptions(ctx),
  });
  const { id, size } = done.descriptor;
  ctx.result({ directory: resolve(target), id, sizeBytes: size, source: resolve(dir), snapshot: done.snapshot }, resolve(target));
}

export const newIdCommand: Command = {
  name: 'new-id',
  summary: 'give a copied image an id of its own',
  description:
    'Copies that were made with `cp` or `rsync` share an id, and only one of them can be attached at a time. The image must be detached.',
  arguments: [IMAGE_ARGUMENT],
  examples: [['ploop new-id /vz/copy', 'prints the new id']],
  run: newId,
};

async function newId(ctx: Context, args: ParsedArguments): Promise<void> {
  const dir = word(args, 'dir');
  const id = await whileDetached(dir, () => native.newId(dir), { doing: 'a new id', ...runDirOption(ctx) });
  ctx.result({ directory: resolve(dir), id }, id);
}
