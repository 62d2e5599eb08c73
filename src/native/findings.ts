// SPDX-License-Identifier: Apache-2.0
// What a check or repair found: the shapes that the addon returns.

export interface NativeFinding {
  code: string;
  /** What is damaged: see csrc/layer/damage.h. */
  kind: string;
  /** What that means for the user. */
  meaning: string;
  /** `found` by a check; a repair has `fixed` it, `salvaged` what could be proven, or `left` it. */
  outcome: 'found' | 'fixed' | 'salvaged' | 'left';
  layer: string;
  offset: number;
  text: string;
}

export interface NativeCheckResult {
  layers: number;
  leftovers: number;
  mapPages: number;
  clusters: number;
  journalRecords: number;
  /** Layers that a crash left open or not sealed. */
  unclean: number;
  layersWithChecksums: number;
  /** Blocks with data that were compared with their checksum, and those that have none; 0 without `data`. */
  blocksVerified: number;
  blocksNotCovered: number;
  fixed: number;
  salvaged: number;
  left: number;
  /** The folder in the image with copies and report.json, where something was salvaged. */
  report: string | null;
  /** How many there are; `findings` holds the first thousand. */
  findingsTotal: number;
  findings: NativeFinding[];
}
