// SPDX-License-Identifier: Apache-2.0
// vzctl mount, umount, compact: a container's file system from outside.
import { compactContainer } from '../../container/compact.js';
import { mountContainer, unmountContainer } from '../../container/mount.js';
import type { Command } from '../command.js';
import { COMPACT_OPTIONS, compactedText, compactOptionsOf, stepProgress } from '../compacted.js';
import { VIA_OPTION, viaOf } from '../via.js';
import { CTID, ctidOf, rootsOf, VZ_ROOT } from './options.js';

export const mountCommand: Command = {
  name: 'mount',
  summary: "mount a stopped container's file system",
  arguments: [CTID],
  options: [VIA_OPTION, VZ_ROOT],
  examples: [['vzctl mount 101', 'on /vz/root/101']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    const { mountPoint } = await mountContainer(ctid, { ...rootsOf(options), ...viaOf(options), signal: ctx.signal });
    ctx.result({ ctid, mountPoint }, `Container ${ctid} is mounted on ${mountPoint}`);
  },
};

export const umountCommand: Command = {
  name: 'umount',
  aliases: ['unmount'],
  summary: "unmount a stopped container's file system",
  arguments: [CTID],
  options: [VZ_ROOT],
  examples: [['vzctl umount 101', 'undo vzctl mount 101']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    await unmountContainer(ctid, { ...rootsOf(options), signal: ctx.signal });
    ctx.result({ ctid, mountPoint: null }, `Container ${ctid} is unmounted`);
  },
};

export const compactCommand: Command = {
  name: 'compact',
  summary: 'give the space of deleted files back to the host',
  description: 'As ploop compact; works on a running, a mounted and a stopped container, and gives way to vzctl stop.',
  arguments: [CTID],
  options: [...COMPACT_OPTIONS, VZ_ROOT],
  examples: [
    ['vzctl compact 101', 'trim, pack, relocate and truncate'],
    ['vzctl compact 101 --time 60 --busy 20', 'for a minute, and gently'],
  ],
  async run(ctx, args, options) {
    const bar = stepProgress(ctx);
    const how = { ...rootsOf(options), ...compactOptionsOf(options), ...bar.callbacks, onNote: (note: string) => ctx.note(note) };
    const done = await compactContainer(ctidOf(args), { ...how, signal: ctx.signal }).finally(() => bar.end());
    ctx.result(done, compactedText(`Container ${done.ctid}`, done));
  },
};
