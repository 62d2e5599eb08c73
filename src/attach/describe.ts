// SPDX-License-Identifier: Apache-2.0
// What a person wants to know about an image: sizes, what the host spends on each layer, snapshots, where it is attached.

import { resolve } from 'node:path';

import { PloopError } from '../errors.js';
import { readDescriptor, type ImageDescriptor } from '../image/descriptor.js';
import { lookAtLayers } from '../image/layers.js';
import { snapshotsOf, type Snapshot } from '../image/snapshots.js';
import { native, type DiscardPolicy, type NativeLayer, type NativeLayerUsage } from '../native/index.js';
import { attachmentsOf, type Attachment } from './attachments.js';
import { control } from './control.js';
import { mountPointsOf } from './mounts.js';
import { waitingRequests, type WaitingRequests } from './room.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface LayerDescription {
  id: string;
  parent: string | null;
  /** What the host spends: allocated blocks of the file. */
  hostBytes: number;
  /** The file's length. */
  lengthBytes: number;
  clusters: number;
  /** Virtual bytes whose content this layer decides. */
  ownedBytes: number;
  /** Those of them that have host space. */
  dataBytes: number;
  /** Clusters by how full of data they are: up to 1/8, … more than 7/8. */
  fullness: number[];
  /** The writable one. */
  top: boolean;
  /** The snapshot it shows; null for the top and for layers kept for others. */
  snapshot: string | null;
}

export interface AttachmentDescription extends Attachment {
  mountPoints: string[];
  /** Requests that wait for room on the host; null: none, or nobody can say. */
  full: WaitingRequests | null;
}

export interface ImageDescription {
  directory: string;
  id: string;
  label: string | null;
  fs: string;
  created: string;
  sizeBytes: number;
  blockSizeBytes: number;
  discard: DiscardPolicy;
  /** All layers together. */
  hostBytes: number;
  /** From the base to the top, branches in between. */
  layers: LayerDescription[];
  snapshots: Snapshot[];
  /** The top's first, then those of snapshots. */
  attachments: AttachmentDescription[];
}

export async function describeImage(dir: string, options: RunDirectoryOption = {}): Promise<ImageDescription> {
  const descriptor = await readDescriptor(dir);
  const attachments = await Promise.all((await attachmentsOf(dir, options)).map(withMountPoints));
  const layers = await layerUsage(dir, descriptor, attachments);
  return {
    directory: resolve(dir),
    id: descriptor.id,
    label: descriptor.label === '' ? null : descriptor.label,
    fs: descriptor.fs === '' ? 'none' : descriptor.fs,
    created: descriptor.created,
    sizeBytes: descriptor.size,
    blockSizeBytes: descriptor.blockSize,
    discard: descriptor.discard,
    hostBytes: layers.reduce((sum, layer) => sum + layer.hostBytes, 0),
    layers,
    snapshots: snapshotsOf(descriptor),
    attachments,
  };
}

export async function withMountPoints(attachment: Attachment): Promise<AttachmentDescription> {
  const mountPoints = attachment.devno === null ? [] : await mountPointsOf(attachment.devno);
  return { ...attachment, mountPoints, full: await waitingRequests(attachment) };
}

const NO_USAGE: NativeLayerUsage = {
  hostBytes: 0,
  length: 0,
  clusters: 0,
  ownedBytes: 0,
  dataBytes: 0,
  fullness: [0, 0, 0, 0, 0, 0, 0, 0],
};

/** The daemon knows the live layers best; those outside its chain, and all of a detached image, are read from the files. */
async function layerUsage(dir: string, descriptor: ImageDescriptor, attachments: readonly Attachment[]): Promise<LayerDescription[]> {
  const live = attachments.find((one) => one.snapshot === null && one.live && (one.state === 'running' || one.state === 'orphan'));
  const known = new Map<string, NativeLayerUsage>();
  if (live !== undefined) for (const layer of (await control(live, 'info', {})).layers) known.set(layer.id, layer);
  if (descriptor.layers.some((layer) => !known.has(layer.id))) {
    const locked = attachments.some((one) => one.live);
    for (const layer of (await usageFromFiles(dir, locked)).filter((one) => !known.has(one.id))) {
      if (layer.usage !== undefined) known.set(layer.id, layer.usage);
    }
  }
  const shown = new Map(descriptor.snapshots.filter((one) => !one.hidden).map((one) => [one.layer, one.id]));
  return descriptor.layers.map((layer) => {
    const usage = known.get(layer.id) ?? NO_USAGE;
    const { hostBytes, length, clusters, ownedBytes, dataBytes, fullness } = usage;
    const top = layer.id === descriptor.top;
    return {
      id: layer.id,
      parent: layer.parent,
      hostBytes,
      lengthBytes: length,
      clusters,
      ownedBytes,
      dataBytes,
      fullness,
      top,
      snapshot: shown.get(layer.id) ?? null,
    };
  });
}

/** Under the lock when it can be had; a busy image is looked at as it is. */
async function usageFromFiles(dir: string, locked: boolean): Promise<NativeLayer[]> {
  if (locked) return (await lookAtLayers(dir)).layers;
  try {
    return (await native.info(dir, { usage: true })).layers;
  } catch (error) {
    if (!(error instanceof PloopError) || error.code !== 'BUSY') throw error;
    return (await lookAtLayers(dir)).layers;
  }
}
