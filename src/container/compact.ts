// SPDX-License-Identifier: Apache-2.0
// Giving a container's unused space back to the host, running or not.

import { compactImage, type CompactedImage, type CompactImageOptions } from '../filesystem/image/compact.js';
import { requireContainer } from './place/locate.js';
import { withContainerLock } from './place/lock.js';
import type { VzRootOptions } from './place/roots.js';

export interface CompactContainerOptions extends VzRootOptions, Pick<CompactImageOptions, 'onStep' | 'onProgress' | 'signal'> {}

export async function compactContainer(ctid: string, options: CompactContainerOptions = {}): Promise<CompactedImage & { ctid: string }> {
  const { paths } = await requireContainer(ctid, options);
  const { onStep, onProgress, signal } = options;
  return withContainerLock(paths, 'vzctl compact', async () => ({
    ctid,
    ...(await compactImage(paths.imageDir, { runDir: paths.roots.runDir, onStep, onProgress, signal })),
  }));
}
