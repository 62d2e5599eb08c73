// SPDX-License-Identifier: Apache-2.0
// Giving a container's unused space back to the host, running or not.

import { findAttachment } from '../attach/attachments.js';
import { compactImage, type CompactedImage, type CompactImageOptions } from '../filesystem/image/compact.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { VzRootOptions } from './place/roots.js';

export interface CompactContainerOptions extends VzRootOptions, Omit<CompactImageOptions, 'runDir' | 'automatic'> {}

/** A mounted container is not locked meanwhile: the operator may want to do something else with it, and compaction gives way. */
export async function compactContainer(ctid: string, options: CompactContainerOptions = {}): Promise<CompactedImage & { ctid: string }> {
  const { paths } = await requireContainer(ctid, options);
  const { vzRoot: _, ...how } = options;
  const { runDir } = paths.roots;
  const compact = async (): Promise<CompactedImage> => compactImage(paths.imageDir, { ...how, runDir });
  const mounted = (await findAttachment(paths.imageDir, { runDir })) !== null;
  return { ctid, ...(await (mounted ? compact() : withContainerLock(paths, 'vzctl compact', compact))) };
}
