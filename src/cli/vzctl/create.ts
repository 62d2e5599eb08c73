// SPDX-License-Identifier: Apache-2.0
// vzctl create, destroy, set: a container's beginning, end and settings.
import { createContainer } from '../../container/create.js';
import { destroyContainer } from '../../container/destroy.js';
import { setContainer } from '../../container/set.js';
import { PloopError } from '../../errors.js';
import { formatSize, parseSize } from '../../units.js';
import type { Command, Option } from '../command.js';
import { parseBps, parseIops } from '../limits.js';
import { CTID, ctidOf, rootsOf, textOf, VZ_ROOT } from './options.js';

const DISKSPACE: Option = {
  flags: '--diskspace <size>',
  summary: 'size of the disk, such as 10G',
  parse: (word) => parseDiskspace(word),
};
const HOSTNAME: Option = { flags: '--hostname <name>', summary: 'host name inside the container' };

/** OpenVZ's SOFT:HARD is understood; the disk gets the hard limit. */
function parseDiskspace(word: string): number {
  return parseSize(word.split(':').at(-1) ?? word, '--diskspace');
}

export const createCommand: Command = {
  name: 'create',
  summary: 'create a container from a template',
  description:
    'Makes an image with a file system, fills it from a template and writes the configuration. The container is stopped afterwards.',
  arguments: [CTID],
  options: [
    {
      flags: '--ostemplate <template>',
      summary: 'template in the cache by name, or the path of a tarball (.tar, .gz, .xz, .zst)',
      required: true,
    },
    { ...DISKSPACE, summary: `${DISKSPACE.summary} (default: 10G)` },
    { ...HOSTNAME, summary: `${HOSTNAME.summary} (default: ct and the number, or the name)` },
    { flags: '--fs <type>', summary: 'file system', choices: ['ext4', 'xfs'], default: 'ext4' },
    VZ_ROOT,
  ],
  examples: [
    ['vzctl create 101 --ostemplate debian-12', 'from /vz/template/cache/debian-12.tar*'],
    ['vzctl create web --ostemplate ./rootfs.tar.zst --diskspace 20G --hostname web.example.org', 'from a tarball, by name'],
  ],
  async run(ctx, args, options) {
    const bar = ctx.progress('Unpacking the template');
    const created = await createContainer(ctidOf(args), {
      ...rootsOf(options),
      ostemplate: options['ostemplate'] as string,
      diskspaceBytes: options['diskspace'] as number | undefined,
      hostname: textOf(options, 'hostname'),
      fs: options['fs'] as 'ext4' | 'xfs',
      onProgress: (done, total) => bar.update(done, total),
      signal: ctx.signal,
    }).finally(() => bar.end());
    const { ctid, ostemplate, diskspaceBytes, privateDir } = created;
    ctx.result(created, `Container ${ctid} created from ${ostemplate}, ${formatSize(diskspaceBytes)}, in ${privateDir}`);
  },
};

export const destroyCommand: Command = {
  name: 'destroy',
  aliases: ['delete'],
  summary: 'remove a stopped container with its disk and snapshots',
  arguments: [CTID],
  options: [VZ_ROOT],
  examples: [['vzctl destroy 101', 'nothing of container 101 is left']],
  async run(ctx, args, options) {
    const ctid = ctidOf(args);
    await destroyContainer(ctid, rootsOf(options));
    ctx.result({ ctid, destroyed: true }, `Container ${ctid} destroyed`);
  },
};

export const setCommand: Command = {
  name: 'set',
  summary: 'change a container: disk size and speed, host name, start at boot, description',
  description:
    'The disk changes at once, running or not, and limits count at once. The host name counts from the next start on. Settings are always saved.',
  arguments: [CTID],
  options: [
    { ...DISKSPACE, summary: 'size of the disk; a smaller one limits a running container (ext4), and shrinks the disk of a stopped one' },
    HOSTNAME,
    {
      flags: '--iolimit <size>',
      summary: 'bytes that the disk reads and writes a second at most, such as 10M; 0 or none: no limit',
      parse: (given) => (/^0+$/.test(given) ? 0 : parseBps('--iolimit', given)),
    },
    {
      flags: '--iopslimit <n>',
      summary: 'operations of the disk a second at most; 0 or none: no limit',
      parse: (given) => (/^0+$/.test(given) ? 0 : parseIops('--iopslimit', given)),
    },
    { flags: '--onboot <yes|no>', summary: 'note that the container is to be started at boot', choices: ['yes', 'no'] },
    { flags: '--description <text>', summary: 'a line about the container' },
    { flags: '--save', summary: 'accepted for OpenVZ compatibility: settings are always saved' },
    VZ_ROOT,
  ],
  examples: [
    [
      'vzctl set 101 --diskspace 20G --save',
      'grow the disk of container 101; a smaller size is a limit while it runs, and shrinks the disk while it is stopped',
    ],
    ['vzctl set 101 --iolimit 10M --iopslimit 500 --save', 'slow its disk down, running or not'],
  ],
  async run(ctx, args, options) {
    const changes = {
      diskspaceBytes: options['diskspace'] as number | undefined,
      hostname: textOf(options, 'hostname'),
      onboot: textOf(options, 'onboot') as 'yes' | 'no' | undefined,
      description: textOf(options, 'description'),
      iolimitBytes: options['iolimit'] as number | undefined,
      iopslimit: options['iopslimit'] as number | undefined,
    };
    if (Object.values(changes).every((value) => value === undefined)) {
      throw new PloopError('INVALID_ARGUMENT', 'nothing to set', {
        hint: 'Give --diskspace, --hostname, --iolimit, --iopslimit, --onboot or --description.',
      });
    }
    const done = await setContainer(ctidOf(args), { ...rootsOf(options), ...changes, signal: ctx.signal });
    ctx.result(done, done.changed.map(({ key, value }) => `${key}="${value}"`).join('\n'));
  },
};
