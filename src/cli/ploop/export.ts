// SPDX-License-Identifier: Apache-2.0
// `ploop export`: an image, or a snapshot of it, as a network block device.
import { exportImage } from '../../attach/exports.js';
import { PloopError } from '../../errors.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { IMAGE_ARGUMENT, runDirOption, text, word } from './image-argument.js';

export const exportCommand: Command = {
  name: 'export',
  summary: 'serve an image by the NBD protocol',
  description:
    'Serves the image, or a snapshot of it, to NBD clients (nbdcopy, qemu-img, nbd-client) and prints the URI that leads to it. ' +
    'The image may be attached: then its daemon serves it as well, read-only while its device is in use. Ends with unexport.',
  arguments: [IMAGE_ARGUMENT],
  options: [
    { flags: '--socket <path>', summary: 'listen on this unix socket (mode 0600)' },
    { flags: '--listen <address>', summary: 'listen on this TCP address: ADDR[:PORT]; port 10809 by default, 0 for any' },
    { flags: '--snapshot <id>', summary: 'export this snapshot, read-only, instead of the present state' },
    { flags: '-r, --read-only', summary: 'refuse writes' },
    { flags: '--name <name>', summary: "of the export; default: the image's label or its directory's name" },
    { flags: '--tls <dir>', summary: 'require TLS: ca-cert.pem, server-cert.pem and server-key.pem, or keys.psk, are in there' },
    { flags: '--tls-verify-peer', summary: 'accept only clients with a certificate of that CA' },
    { flags: '--insecure-plain', summary: 'no TLS, also where other hosts can reach the address' },
    { flags: '--idle-timeout <seconds>', summary: 'cut off clients without a request; 0 = never', default: 86400, parse: parseSeconds },
  ],
  examples: [
    ['ploop export /vz/web --snapshot nightly --socket /run/web.sock', 'for a backup: nbdcopy, qemu-img convert'],
    ['ploop export /vz/web --listen 192.0.2.1 --tls /etc/pki/ploop', 'for another host'],
  ],
  run: exportIt,
};

function parseSeconds(given: string): number {
  if (!/^\d{1,7}$/.test(given) || Number(given) > 2_000_000)
    throw new PloopError('INVALID_ARGUMENT', `--idle-timeout: ${given} is not a number of seconds from 0 to 2000000`);
  return Number(given);
}

async function exportIt(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<void> {
  const made = await exportImage(word(args, 'dir'), {
    socket: text(options['socket']),
    listen: text(options['listen']),
    snapshot: text(options['snapshot']),
    readOnly: options['readOnly'] === true,
    name: text(options['name']),
    tls: text(options['tls']),
    verifyPeer: options['tlsVerifyPeer'] === true,
    insecurePlain: options['insecurePlain'] === true,
    idleMs: (options['idleTimeout'] as number) * 1000,
    signal: ctx.signal,
    ...runDirOption(ctx),
  });
  if (made.readOnly && options['readOnly'] !== true && made.snapshot === null)
    ctx.note('exported read-only: its device is in use, and two writers would destroy the file system');
  ctx.result(made, made.uri);
}
