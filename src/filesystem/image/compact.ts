// SPDX-License-Identifier: Apache-2.0
// Giving unused space back to the host, in steps: trim (the file system, mounted or mounted for that, names what it does
// not use), pack (its files' blocks move together; ext4 only), below (layers without a snapshot lose what no branch sees), relocate (the image frees empty clusters, moves those at its
// end down and truncates its file). Each step may be left out, is measured, and can be interrupted.
import { findAttachment, type Attachment } from '../../attach/attachments.js';
import { whileNoted } from '../../attach/compacting.js';
import { control, deadDaemon } from '../../attach/control.js';
import { reachableMounts } from '../../attach/mounts.js';
import { whileDetached } from '../../attach/operations.js';
import { refuseWhileFull } from '../../attach/room.js';
import type { RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { readDescriptor, type ImageDescriptor } from '../../image/descriptor.js';
import { lookAtLayers } from '../../image/layers.js';
import { native } from '../../native/index.js';
import { syncFileSystem } from '../sync.js';
import { isFileSystemType, type FileSystemType } from '../type.js';
import { readSuperblock } from '../usage.js';
import { measured, withinTime, type CompactStep, type StepFigures } from './compact-step.js';
import { packStep, trimFreed, trimStep } from './compact-mounted.js';
import { type CollectNote, collectTemporary } from './collect.js';
import { clearAbandoned, withAttached, withMountedDevice } from './temporary.js';

export interface CompactImageOptions extends RunDirectoryOption, CollectNote {
  /** false: do not ask the file system what it does not use. Default true. */
  trim?: boolean | undefined;
  /** Default: where the discard policy makes it worthwhile (`cluster`; `block` with larger blocks). true: always tries; false: never. */
  pack?: boolean | undefined;
  /** false: leave the layers below as they are. Default true. */
  below?: boolean | undefined;
  /** false: leave the image's clusters where they are. Default true. */
  relocate?: boolean | undefined;
  /** Of the time that trimming may keep the device busy, 1 to 100, default 50; trimming and packing take a fifth of it while others use the device. */
  busyPercent?: number | undefined;
  /** Of data that packing moves. */
  rateBytesPerSecond?: number | undefined;
  /** All steps stop in good order after that. */
  timeBudgetMs?: number | undefined;
  onStep?: ((step: CompactStep['step']) => void) | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** The caller has made known that it compacts the image (whileNoted). */
  automatic?: boolean | undefined;
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
  /** In the order they were made. */
  steps: CompactStep[];
}

export async function compactImage(dir: string, options: CompactImageOptions = {}): Promise<CompactedImage> {
  await clearAbandoned(dir, options);
  const attachment = await findAttachment(dir, options);
  if (attachment !== null) {
    checkAttachment(attachment);
    await refuseWhileFull(attachment, 'compacting');
  }
  if (attachment === null || options.automatic === true) return compactSteps(dir, attachment, options);
  return whileNoted(
    { directory: attachment.directory, image: attachment.image, kind: 'manual' },
    (giveWay) => {
      const signal = options.signal === undefined ? giveWay : AbortSignal.any([options.signal, giveWay]);
      return compactSteps(dir, attachment, { ...options, signal }).catch((error: unknown) => {
        throw giveWay.aborted ? giveWay.reason : error;
      });
    },
    options,
  );
}

async function compactSteps(dir: string, attachment: Attachment | null, options: CompactImageOptions): Promise<CompactedImage> {
  const { runDir, signal, onNote, onProgress } = options;
  await collectTemporary(dir, { runDir, signal, onNote, onProgress, merge: attachment === null });
  const endMs = options.timeBudgetMs === undefined ? Infinity : performance.now() + options.timeBudgetMs;
  const work: Work = { dir, attachment, descriptor: await readDescriptor(dir), endMs, options };
  const before = await hostUsage(dir);
  const steps = [...(await mountedSteps(work)), await below(work), await relocate(work)];
  const after = await hostUsage(dir);
  const figures = (step: CompactStep['step']): StepFigures => steps.find((one) => one.step === step) ?? {};
  return {
    hostBytesBefore: before.hostBytes,
    hostBytesAfter: after.hostBytes,
    lengthBytesBefore: before.topLengthBytes,
    lengthBytesAfter: after.topLengthBytes,
    trimmedBytes: figures('trim').trimmedBytes ?? null,
    clustersFreed: figures('relocate').clustersFreed ?? 0,
    clustersMoved: figures('relocate').clustersMoved ?? 0,
    steps,
  };
}

export interface Work {
  dir: string;
  attachment: Attachment | null;
  descriptor: ImageDescriptor;
  /** performance.now() at which the time is up. */
  endMs: number;
  options: CompactImageOptions;
}

function checkAttachment(attachment: Attachment): void {
  if (!attachment.live) throw deadDaemon(attachment);
  if (attachment.readOnly) {
    throw new PloopError('READ_ONLY', `${attachment.directory} is attached read-only`, {
      hint: `Detach it first, then compact: ploop umount ${attachment.directory}`,
    });
  }
}

async function hostUsage(dir: string): Promise<{ hostBytes: number; topLengthBytes: number }> {
  const { layers, top } = await lookAtLayers(dir);
  const hostBytes = layers.reduce((sum, layer) => sum + (layer.usage?.hostBytes ?? 0), 0);
  return { hostBytes, topLengthBytes: layers.find((layer) => layer.id === top)?.usage?.length ?? 0 };
}

/** Trim and pack: they need the file system mounted. */
async function mountedSteps(work: Work): Promise<CompactStep[]> {
  const { dir, attachment, options } = work;
  const none = (why: string): CompactStep[] => [skipped('trim', why), skipped('pack', why)];
  if (options.trim === false && options.pack !== true) return none('not asked for');
  if (attachment !== null) {
    const mount = await writableMount(attachment);
    return mount === null ? none(await whyNone(attachment)) : bothSteps(work, mount.mountPoint, mount.type);
  }
  const { runDir, signal } = options;
  return withAttached(
    dir,
    async ({ device }) => {
      const type = (await readSuperblock(device))?.type;
      if (type === undefined) return none('it holds no file system that ploop knows');
      return withMountedDevice(device, (mountPoint) => bothSteps(work, mountPoint, type), { type, runDir, signal });
    },
    { runDir, signal },
  );
}

async function writableMount({ devno }: Attachment): Promise<{ mountPoint: string; type: FileSystemType } | null> {
  const mounts = devno === null ? [] : await reachableMounts(devno);
  const mount = mounts.find((entry) => !entry.options.split(',').includes('ro'));
  return mount !== undefined && isFileSystemType(mount.type) ? { mountPoint: mount.mountPoint, type: mount.type } : null;
}

async function whyNone({ devno }: Attachment): Promise<string> {
  const [mount] = devno === null ? [] : await reachableMounts(devno);
  return mount === undefined ? 'no file system is mounted from the device' : `it is mounted read-only on ${mount.mountPoint}`;
}

async function bothSteps(work: Work, mountPoint: string, type: FileSystemType): Promise<CompactStep[]> {
  const steps: CompactStep[] = [];
  for (const [step, run] of [
    ['trim', trimStep],
    ['pack', packStep],
  ] as const) {
    work.options.onStep?.(step);
    steps.push(await measured(work.dir, step, () => run(work, mountPoint, type)));
  }
  // What the host spends is seen only when the changes have reached it.
  await syncFileSystem(mountPoint);
  return steps;
}

function skipped(step: CompactStep['step'], why: string): CompactStep {
  return { step, skipped: why, stopped: null, hostBytesBefore: null, hostBytesAfter: null, ms: 0 };
}

/** Branches need a layer whose snapshot was deleted: what each of them has something else for goes back. */
async function below(work: Work): Promise<CompactStep> {
  const { dir, attachment, options } = work;
  const why = belowSkipped(work);
  if (why !== undefined) return skipped('below', why);
  options.onStep?.('below');
  return measured(dir, 'below', () =>
    withinTime(work, async (long) => {
      const { layers, inUse, punchedBytes } = await (attachment === null
        ? whileDetached(dir, () => native.reclaim(dir, long), { runDir: options.runDir, doing: 'compacting' })
        : control(attachment, 'reclaim', {}, { ...long, timeoutMs: 0 }));
      return { layers, inUse, punchedBytes };
    }),
  );
}

function belowSkipped({ options, descriptor, endMs }: Work): string | undefined {
  if (options.below === false) return 'not asked for';
  if (performance.now() >= endMs) return 'the time was used up';
  const { layers, top, snapshots } = descriptor;
  const shown = new Set([top, ...snapshots.filter(({ hidden }) => !hidden).map(({ layer }) => layer)]);
  return layers.every(({ id }) => shown.has(id)) ? 'snapshots show all layers' : undefined;
}

async function relocate(work: Work): Promise<CompactStep> {
  const { dir, attachment, options, endMs } = work;
  if (options.relocate === false) return skipped('relocate', 'not asked for');
  if (performance.now() >= endMs) return skipped('relocate', 'the time was used up');
  options.onStep?.('relocate');
  return measured(dir, 'relocate', () =>
    withinTime(work, async (long) => {
      const { clustersFreed, clustersMoved } = await (attachment === null
        ? whileDetached(dir, () => native.compact(dir, long), { runDir: options.runDir, doing: 'compacting' })
        : control(attachment, 'compact', {}, { ...long, timeoutMs: 0 }));
      await trimFreedLast(work);
      return { clustersFreed, clustersMoved };
    }),
  );
}

async function trimFreedLast(work: Work): Promise<void> {
  const { attachment, options } = work;
  if (attachment === null || options.trim === false) return;
  const mount = await writableMount(attachment);
  // xfs gives back a whole free extent wherever a range touches it: that is as much as all of it again.
  if (mount?.type === 'ext4') await trimFreed(work, mount.mountPoint);
}
