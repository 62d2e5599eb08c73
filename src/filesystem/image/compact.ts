// SPDX-License-Identifier: Apache-2.0
// Giving unused space back to the host: the file system says what it does not need (mounted, or mounted for that), then
// the image frees empty clusters, moves those at its end down and truncates its file.
import { findAttachment, type Attachment } from '../../attach/attachments.js';
import { control, deadDaemon } from '../../attach/control.js';
import { readMounts } from '../../attach/mounts.js';
import { whileDetached } from '../../attach/operations.js';
import { refuseWhileFull } from '../../attach/room.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { native, type NativeCompactResult } from '../../native/index.js';
import { trimFileSystem, trimJournal } from '../trim.js';
import { isFileSystemType, type FileSystemType } from '../type.js';
import { readSuperblock } from '../usage.js';
import { clearAbandoned, withAttached, withMountedDevice } from './temporary.js';

export interface CompactImageOptions extends RunDirectoryOption {
  /** false: only what the image itself knows to be unused. Default true. */
  trim?: boolean | undefined;
  onStep?: ((step: 'trim' | 'compact') => void) | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface CompactedImage {
  /** What the host spent on all layers, and spends now. */
  hostBytesBefore: number;
  hostBytesAfter: number;
  /** Of the writable layer's file. */
  lengthBytesBefore: number;
  lengthBytesAfter: number;
  /** What the file system named as free; null when there was none to ask. */
  trimmedBytes: number | null;
  clustersFreed: number;
  clustersMoved: number;
}

export async function compactImage(dir: string, options: CompactImageOptions = {}): Promise<CompactedImage> {
  await clearAbandoned(dir, options);
  const before = await usageOf(dir);
  const attachment = await findAttachment(dir, options);
  if (attachment !== null) {
    checkAttachment(attachment);
    await refuseWhileFull(attachment, 'compacting');
  }
  const trimmedBytes = options.trim === false ? null : await trim(dir, attachment, options);
  options.onStep?.('compact');
  const { clustersFreed, clustersMoved } = await compact(dir, attachment, options);
  const after = await usageOf(dir);
  return {
    hostBytesBefore: before.hostBytes,
    hostBytesAfter: after.hostBytes,
    lengthBytesBefore: before.topLengthBytes,
    lengthBytesAfter: after.topLengthBytes,
    trimmedBytes,
    clustersFreed,
    clustersMoved,
  };
}

function checkAttachment(attachment: Attachment): void {
  if (!attachment.live) throw deadDaemon(attachment);
  if (attachment.readOnly) {
    throw new PloopError('READ_ONLY', `${attachment.directory} is attached read-only`, {
      hint: `Detach it first, then compact: ploop umount ${attachment.directory}`,
    });
  }
}

async function usageOf(dir: string): Promise<{ hostBytes: number; topLengthBytes: number }> {
  const { layers, top } = await native.info(dir, { usage: true, lock: false });
  const hostBytes = layers.reduce((sum, layer) => sum + (layer.usage?.hostBytes ?? 0), 0);
  return { hostBytes, topLengthBytes: layers.find((layer) => layer.id === top)?.usage?.length ?? 0 };
}

async function trim(dir: string, attachment: Attachment | null, options: CompactImageOptions): Promise<number | null> {
  options.onStep?.('trim');
  if (attachment !== null) return trimMounted(attachment, options.signal);
  const { runDir, signal } = options;
  return withAttached(
    dir,
    async ({ device }) => {
      const type = (await readSuperblock(device))?.type;
      if (type === undefined) return null;
      return withMountedDevice(device, (mountPoint) => trimBoth(mountPoint, type, signal), { type, runDir, signal });
    },
    { runDir, signal },
  );
}

async function trimMounted(attachment: Attachment, signal: AbortSignal | undefined): Promise<number | null> {
  const mount = (await readMounts()).find((entry) => entry.devno === attachment.devno && !entry.options.split(',').includes('ro'));
  if (mount === undefined || !isFileSystemType(mount.type)) return null;
  return trimBoth(mount.mountPoint, mount.type, signal);
}

async function trimBoth(mountPoint: string, type: FileSystemType, signal: AbortSignal | undefined): Promise<number> {
  const bytes = await trimFileSystem(mountPoint, { signal });
  if (type === 'ext4') await trimJournal(mountPoint, { signal });
  return bytes;
}

async function compact(dir: string, attachment: Attachment | null, options: CompactImageOptions): Promise<NativeCompactResult> {
  const { onProgress, signal, runDir } = options;
  if (attachment !== null) return control(attachment, 'compact', {}, { onProgress, signal, timeoutMs: 0 });
  const work = { ...(onProgress === undefined ? {} : { onProgress }), ...(signal === undefined ? {} : { signal }) };
  return whileDetached(dir, () => native.compact(dir, work), { runDir, doing: 'compacting' });
}
