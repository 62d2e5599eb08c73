// SPDX-License-Identifier: Apache-2.0
// What some calls of the addon and of ploopd give alike.

export interface NativeExtent {
  offset: number;
  length: number;
  layer: string | null;
  zero: boolean;
  hostOffset: number | null;
}

export interface NativeCompactResult {
  hostBefore: number;
  hostAfter: number;
  lengthBefore: number;
  lengthAfter: number;
  clustersFreed: number;
  clustersMoved: number;
}

export interface NativeReclaimResult {
  /** That no snapshot shows and branches need; of them, those that somebody reads or a clone shares. */
  layers: number;
  inUse: number;
  punchedBytes: number;
}

export interface NativeSnapshot {
  id: string;
  layer: string;
  name: string;
  description: string;
  created: string;
  hidden: boolean;
  /** The process a temporary one is kept for (FMT-118); '' = none. */
  holder: string;
}
