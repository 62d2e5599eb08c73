// SPDX-License-Identifier: Apache-2.0
// The public surface of the library: re-exports only. What is not named here may change at any time.

export { ERROR_EXIT_STATUS, type ErrorCode, isErrorCode, PloopError, type PloopErrorOptions } from './errors.js';
export { formatSize, MAX_SIZE_BYTES, parseSize } from './units.js';

// ---- images ----
export { type ImageDescriptor, readDescriptor } from './image/descriptor.js';
export { ReaderCache, type ReaderCacheOptions } from './image/readers.js';
export { findSnapshot, listSnapshots, type Snapshot } from './image/snapshots.js';
export type { NativeChangedExtent, NativeCheckResult, NativeExtent, NativeFinding, NativeReader } from './native/index.js';

// ---- attached images ----
export { type Attachment, type DeviceLimits, findAttachment, listAttachments } from './attach/attachments.js';
export { ControlClient, type RequestOptions } from './attach/control.js';
export type { ControlOperation, ControlOperations, NbdExport } from './attach/control-operations.js';
export { type ChangedBlocks, changedBlocks, type ChangedBlocksOptions } from './attach/diff.js';
export {
  exportImage,
  type ExportImageOptions,
  type ImageExport,
  listExports,
  unexportImage,
  type UnexportOptions,
} from './attach/exports.js';
export { type AttachmentDescription, describeImage, type ImageDescription, type LayerDescription } from './attach/describe.js';
export {
  cancelJob,
  type DeletedSnapshot,
  deleteSnapshot,
  type DeleteSnapshotOptions,
  type Job,
  listJobs,
  waitJob,
  type WaitJobOptions,
} from './attach/jobs.js';
export {
  checkImage,
  mapExtents,
  type MapOptions,
  type NamedSnapshot,
  switchToSnapshot,
  type TakenSnapshot,
  type TakeSnapshotOptions,
} from './attach/operations.js';
export { type Via, VIAS, type ViaChoice } from './attach/via.js';
export { attachImage, type AttachOptions, type AttachResult, detachAttachment, type DetachOptions } from './attach/ploopd.js';

// ---- images with a file system ----
export { type ClonedImage, cloneImage, type CloneImageOptions } from './filesystem/image/clone.js';
export { collectTemporary, type CollectOptions } from './filesystem/image/collect.js';
export { compactImage, type CompactedImage, type CompactImageOptions } from './filesystem/image/compact.js';
export { newImage, type NewImageOptions } from './filesystem/image/create.js';
export { type MountedImage, mountImage, type MountImageOptions } from './filesystem/image/mount.js';
export { type LimitedImage, limitImage, type LimitImageOptions } from './filesystem/image/limit.js';
export { type ResizedImage, resizeImage, type ResizeImageOptions } from './filesystem/image/resize.js';
export { type ConsistentSnapshot, consistentSnapshot } from './filesystem/image/snapshot.js';
export { type UnmountedImage, unmountImage, type UnmountImageOptions } from './filesystem/image/unmount.js';
export { imageFileSystem, type ImageFileSystem } from './filesystem/image/usage.js';
export { packFileSystem, type PackEstimate, type PackOptions, type PackResult } from './filesystem/pack.js';

// ---- streams ----
export { copyImage, type CopiedImage, type CopyOptions, type CopyRound } from './stream/copy.js';
export { receiveImage, type ReceiveOptions, resumeToken } from './stream/receive.js';
export { sendImage, type SendOptions } from './stream/send.js';
export type { Transferred, TransferOptions } from './stream/transfer.js';
export { type ImageSpace, measureSpace, type SpaceEstimate } from './filesystem/space/measure.js';
export { changeSettings, type ChangeSettingsOptions, type ImageSettings } from './attach/settings.js';

// ---- templates ----
export { type BusyboxOptions, makeBusyboxTemplate } from './template/busybox.js';
export { listTemplates, type Template } from './template/cache.js';
export { resolveTemplate } from './template/resolve.js';

// ---- containers ----
export { compactContainer, type CompactContainerOptions } from './container/compact.js';
export { createContainer, type CreateContainerOptions, type CreatedContainer } from './container/create.js';
export { destroyContainer } from './container/destroy.js';
export { captureInContainer, enterContainer, execInContainer, type ExecOptions } from './container/exec.js';
export { type ContainerRow, type ContainerStatus, listContainers } from './container/list.js';
export { mountContainer, type MountContainerOptions, unmountContainer } from './container/mount.js';
export { type MigratedContainer, migrateContainer, type MigrateOptions } from './container/move/migrate.js';
export type { VzRootOptions } from './container/place/roots.js';
export { type ChangedSettings, setContainer, type SetContainerOptions } from './container/set.js';
export {
  deleteContainerSnapshot,
  type DeleteContainerSnapshotOptions,
  listContainerSnapshots,
  snapshotContainer,
  type SnapshotContainerOptions,
  switchContainerToSnapshot,
} from './container/snapshot.js';
export { restartContainer, startContainer, type StartedContainer, type StartOptions } from './container/start.js';
export { containerState, type ContainerState } from './container/state.js';
export { stopContainer, type StoppedContainer, type StopOptions } from './container/stop.js';
