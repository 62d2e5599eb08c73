// SPDX-License-Identifier: Apache-2.0
// A container on its way to another host is marked in its configuration, on both sides, from the moment on when the other
// side could start it until it is decided. Nothing uses a marked one, so that it never runs twice.

import { access } from 'node:fs/promises';

import { PloopError } from '../../errors.js';
import type { ContainerConfig } from '../place/config.js';
import { requireContainer } from '../place/locate.js';
import type { ContainerPaths, VzRootOptions } from '../place/roots.js';

/** At the source: where to. */
export const MOVING_TO = 'MOVING_TO';
/** At the destination: where from. */
export const MOVING_FROM = 'MOVING_FROM';
/** At the source: whether it ran when the move began. */
export const MOVING_RAN = 'MOVING_RAN';

/** As requireContainer(), for what changes or uses it: MOVING when it is marked. */
export async function requireUnmarked(
  ctid: string,
  options: VzRootOptions = {},
): Promise<{ paths: ContainerPaths; config: ContainerConfig }> {
  const found = await requireContainer(ctid, options);
  refuseMarked(found.paths, found.config);
  return found;
}

function refuseMarked({ ctid, confFile }: ContainerPaths, config: ContainerConfig): void {
  const [to, from] = [config.get(MOVING_TO), config.get(MOVING_FROM)];
  if (to !== undefined) {
    throw new PloopError('MOVING', `container ${ctid} is being moved to ${to}`, {
      hint: `Finish it, or take it back, with: vzctl migrate ${ctid} ${to}. If that host is gone for good, remove the line ${MOVING_TO} from ${confFile}`,
    });
  }
  if (from === undefined) return;
  throw new PloopError('MOVING', `container ${ctid} is being moved here from ${from}`, {
    hint: `Finish it there with vzctl migrate. If that host is gone for good, remove the line ${MOVING_FROM} from ${confFile}`,
  });
}

/** Before a container of this id is made here. */
export async function refuseIncoming({ ctid, incomingDir }: ContainerPaths): Promise<void> {
  const there = await access(incomingDir).then(
    () => true,
    () => false,
  );
  if (!there) return;
  throw new PloopError('EXISTS', `container ${ctid} is being moved here from another host (${incomingDir})`, {
    hint: `Wait for it, or remove what has arrived with: vzctl destroy ${ctid}`,
  });
}
