// SPDX-License-Identifier: Apache-2.0
// `ploop info`: sizes, what the host spends and could get back, layers, snapshots, where it is attached.
import type { AttachmentDescription, ImageDescription } from '../../attach/describe.js';
import type { ImageFileSystem } from '../../filesystem/image/usage.js';
import { measureSpace, type ImageSpace, type MeasuredLayer } from '../../filesystem/space/measure.js';
import { formatSize } from '../../units.js';
import type { Command, Context, ParsedArguments } from '../command.js';
import { limitsText } from '../limits.js';
import { renderFacts, table } from '../table.js';
import { IMAGE_ARGUMENT, runDirOption, word } from './image-argument.js';
import { extentsText, fullnessText, spaceFacts } from './space-text.js';
import { stateText, stoppedStatus } from './state.js';

export const infoCommand: Command = {
  name: 'info',
  summary: 'show sizes, layers, snapshots and where an image is attached',
  arguments: [IMAGE_ARGUMENT],
  examples: [['ploop info /vz/web', 'what the disk holds, costs and could give back']],
  run: info,
};

async function info(ctx: Context, args: ParsedArguments): Promise<number> {
  const dir = word(args, 'dir');
  const measured = await measureSpace(dir, { ...runDirOption(ctx), signal: ctx.signal });
  const { image, layers, fileSystem, space } = measured;
  const reclaimableBytes = space.smearBytes;
  ctx.result({ ...image, layers, fileSystem, reclaimableBytes, space }, render(measured, reclaimableBytes));
  return stoppedStatus(image.attachments);
}

function render({ image, layers, fileSystem, space }: ImageSpace, reclaimableBytes: number | null): string {
  const facts = renderFacts([
    ['image', image.id],
    ['label', image.label],
    ['created', image.created],
    ['size', `${formatSize(image.sizeBytes)} in blocks of ${formatSize(image.blockSizeBytes)}`],
    ['file system', fileSystemText(image, fileSystem)],
    [
      'discards give',
      image.discard === 'block'
        ? null
        : image.discard === 'cluster'
          ? 'clusters without data back to the host'
          : 'nothing back to the host',
    ],
    ['host spends', `${formatSize(image.hostBytes)} in ${image.layers.length === 1 ? '1 layer' : `${image.layers.length} layers`}`],
    ['reclaimable', reclaimableBytes === null ? null : reclaimableText(image, reclaimableBytes)],
    ...spaceFacts(space),
    ...image.attachments.map((one) => ['attached', attachmentText(one)] as const),
    ['attached', image.attachments.length === 0 ? 'no' : null],
  ]);
  return `${image.directory}\n${facts}\n\n${layerTable(image, layers)}`;
}

function fileSystemText(image: ImageDescription, fileSystem: ImageFileSystem | null): string {
  if (fileSystem === null) return image.fs === 'none' ? 'none that ploop made or knows' : `${image.fs} (cannot be read now)`;
  const { usedBytes, freeBytes, totalBytes, source } = fileSystem.usage;
  const limited = fileSystem.limitBytes === null ? '' : `, limited to ${formatSize(fileSystem.limitBytes)} of the disk`;
  const when = source === 'mounted' ? '' : ' (as of the last unmount)';
  return `${fileSystem.type}: ${formatSize(usedBytes)} used, ${formatSize(freeBytes)} free of ${formatSize(totalBytes)}${limited}${when}`;
}

/** Metadata of image and file system; not worth an effort. */
const SMALL_BYTES = 2 ** 20;

function reclaimableText(image: ImageDescription, bytes: number): string {
  const held = image.snapshots.length;
  if (held > 0 && bytes >= SMALL_BYTES)
    return `at most ${formatSize(bytes)}, part of it by deleting ${held === 1 ? 'the snapshot' : 'snapshots'}`;
  if (bytes < SMALL_BYTES) return 'next to nothing';
  return `at most ${formatSize(bytes)}, by: ploop compact ${image.directory}`;
}

function attachmentText(one: AttachmentDescription): string {
  const what = one.snapshot === null ? '' : `snapshot ${one.snapshot.slice(0, 8)} `;
  const device = one.device === null ? 'without a device' : `${one.device} (${one.via ?? 'no way'})`;
  const mounted = one.mountPoints.length === 0 ? ', not mounted' : `, mounted on ${one.mountPoints.join(', ')}`;
  const full = one.full === null ? '' : `; the host is full: ${one.full.requests} requests wait since ${one.full.since ?? '?'}`;
  const limits = limitsText(one);
  const notes = `${limits === null ? '' : `, at most ${limits}`}${stateText(one)}${full}`;
  return `${what}${device}${one.readOnly ? ', read-only' : ''}${mounted}, since ${one.since}, ploopd pid ${one.keeper}${notes}`;
}

function layerTable(image: ImageDescription, layers: readonly MeasuredLayer[]): string {
  const names = new Map(image.snapshots.map((one) => [one.id, one.name]));
  const role = (layer: MeasuredLayer): string => {
    if (layer.top) return 'top';
    if (layer.snapshot === null) return 'kept for others';
    const name = names.get(layer.snapshot);
    return `snapshot ${layer.snapshot.slice(0, 8)}${name ? ` (${name})` : ''}`;
  };
  const rows = layers.map((layer) => [
    layer.id.slice(0, 8),
    layer.parent?.slice(0, 8) ?? '-',
    formatSize(layer.ownedBytes),
    formatSize(layer.hostBytes),
    fullnessText(layer.fullness),
    extentsText(layer),
    role(layer),
  ]);
  return table(
    [
      { title: 'LAYER' },
      { title: 'PARENT' },
      { title: 'OWNS', right: true },
      { title: 'HOST', right: true },
      { title: 'FULL' },
      { title: 'EXTENTS/MIB', right: true },
      { title: 'WHAT' },
    ],
    rows,
  );
}
