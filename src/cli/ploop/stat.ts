// SPDX-License-Identifier: Apache-2.0
// `ploop stat`: what an image costs and could give back, and what its device is doing; once, or again and again.
import { setTimeout as sleep } from 'node:timers/promises';

import { control } from '../../attach/control.js';
import type { ControlOperations } from '../../attach/control-operations.js';
import { measureSpace, servingAttachment, type ImageSpace } from '../../filesystem/space/measure.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments, ParsedOptions } from '../command.js';
import { limitsText } from '../limits.js';
import { renderFacts, table } from '../table.js';
import { IMAGE_ARGUMENT, parseSeconds, runDirOption, word } from './image-argument.js';
import { extentsText, fullnessText, spaceFacts } from './space-text.js';
import { stoppedStatus } from './state.js';

type Io = ControlOperations['stats'][1];

const OPERATIONS = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const;

export const statCommand: Command = {
  name: 'stat',
  summary: 'show what an image costs the host, what it could give back, and its I/O',
  description:
    'FULL draws how full the clusters of a layer are, from up to 1/8 (left) to more than 7/8; EXTENTS is how many pieces each MiB of ' +
    'its file is in on the host. With --watch the I/O shown is that since the line before; it ends with Control-C.',
  arguments: [IMAGE_ARGUMENT],
  options: [{ flags: '--watch <seconds>', summary: 'again every so many seconds', parse: (given) => parseSeconds('--watch', given) }],
  examples: [
    ['ploop stat /vz/web', 'once'],
    ['ploop stat /vz/web --watch 5 --json', 'a JSON document every five seconds'],
  ],
  run: stat,
};

async function stat(ctx: Context, args: ParsedArguments, options: ParsedOptions): Promise<number> {
  const dir = word(args, 'dir');
  const watchSeconds = options['watch'] as number | undefined;
  let before: Io | null = null;
  for (;;) {
    const measured = await measureSpace(dir, { ...runDirOption(ctx), signal: ctx.signal });
    const io = await ioOf(dir, ctx);
    show(ctx, measured, { io, before });
    if (watchSeconds === undefined) return stoppedStatus(measured.image.attachments);
    before = io;
    await sleep(watchSeconds * 1000, undefined, { signal: ctx.signal }).catch(() => undefined);
    if (ctx.signal.aborted) return 0;
  }
}

/** null: detached, or nobody answers. */
async function ioOf(dir: string, ctx: Context): Promise<Io | null> {
  const live = await servingAttachment(dir, runDirOption(ctx));
  return live === null ? null : control(live, 'stats', {}, { signal: ctx.signal, timeoutMs: 5000 }).catch(() => null);
}

function show(ctx: Context, { image, layers, fileSystem, space }: ImageSpace, { io, before }: { io: Io | null; before: Io | null }): void {
  const { directory, id, sizeBytes, blockSizeBytes } = image;
  const value = { directory, id, at: new Date().toISOString(), sizeBytes, blockSizeBytes, space, layers, fileSystem, io };
  const facts = renderFacts([
    ['host spends', formatSize(space.hostBytes)],
    ['file system uses', space.usedBytes === null ? 'not known' : formatSize(space.usedBytes)],
    ...spaceFacts(space),
    ['limited to', io === null ? null : limitsText(io)],
    ['waiting', io === null || limitsText(io) === null ? null : `${io.waiting} requests`],
  ]);
  const rows = layers.map((layer) => [
    layer.top ? 'top' : layer.id.slice(0, 8),
    formatSize(layer.hostBytes),
    formatSize(layer.lengthBytes),
    formatSize(layer.dataBytes),
    String(layer.clusters),
    fullnessText(layer.fullness),
    extentsText(layer),
  ]);
  const titles = ['HOST', 'LENGTH', 'DATA', 'CLUSTERS'].map((title) => ({ title, right: true }));
  const text = table([{ title: 'LAYER' }, ...titles, { title: 'FULL' }, { title: 'EXTENTS', right: true }], rows);
  const parts = [directory, facts, '', text, ...(io === null ? [] : ['', ioTable(io, before)])];
  ctx.result(value, `${parts.join('\n')}\n`);
}

function ioTable(io: Io, before: Io | null): string {
  const rows = OPERATIONS.map((name) => {
    const since = (key: 'requests' | 'bytes' | 'errors' | 'ns'): number => io[name][key] - (before?.[name][key] ?? 0);
    const requests = since('requests');
    const mean = requests === 0 ? '-' : `${(since('ns') / requests / 1000).toFixed(0)} µs`;
    return [name === 'writeZeroes' ? 'write zeroes' : name, String(requests), formatSize(since('bytes')), mean, String(since('errors'))];
  });
  const titles = ['REQUESTS', 'BYTES', 'MEAN', 'ERRORS'].map((title) => ({ title, right: true }));
  return table([{ title: 'I/O' }, ...titles], rows);
}
