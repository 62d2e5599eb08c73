// SPDX-License-Identifier: Apache-2.0
// The layer files of an image, looked at without its lock: they may be merged, and removed, meanwhile.

import { PloopError } from '../errors.js';
import { native, type NativeImageInfo } from '../native/index.js';
import { readDescriptor } from './descriptor.js';

/** The image, with what each layer takes on the host. */
export async function lookAtLayers(dir: string): Promise<NativeImageInfo> {
  for (;;) {
    try {
      return await native.info(dir, { usage: true, lock: false });
    } catch (error) {
      if (!(await wasMerging(dir, error))) throw error;
    }
  }
}

/** A layer that is missing may have been merged since the descriptor was read: then there is another descriptor by now. */
async function wasMerging(dir: string, error: unknown): Promise<boolean> {
  const missing = error instanceof PloopError && error.code === 'CORRUPT' ? / layer ([0-9a-f-]{36}) is missing$/.exec(error.message) : null;
  return missing !== null && (await readDescriptor(dir)).layers.every(({ id }) => id !== missing[1]);
}
