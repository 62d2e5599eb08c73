// SPDX-License-Identifier: Apache-2.0
// A container's limits on its disk, as OpenVZ named them: IOLIMIT (bytes a second) and IOPSLIMIT (operations a second); 0: none.
import { findAttachment, type DeviceLimits } from '../attach/attachments.js';
import { changeSettings } from '../attach/settings.js';
import { PloopError } from '../errors.js';
import { parseSize } from '../units.js';
import type { ContainerConfig } from './place/config.js';
import type { ContainerPaths } from './place/roots.js';

/** What the configuration says; INVALID_ARGUMENT for what is no limit. */
export function configuredLimits(config: ContainerConfig): Required<DeviceLimits> {
  const iops = config.get('IOPSLIMIT') ?? '0';
  const bps = config.get('IOLIMIT') ?? '0';
  if (!/^\d+$/.test(iops)) {
    throw new PloopError('INVALID_ARGUMENT', `the container's configuration: IOPSLIMIT: '${iops}' is not a number`, {
      hint: 'Set it anew with: vzctl set CTID --iopslimit N',
    });
  }
  return { iops: Number(iops), bps: /^0*$/.test(bps) ? 0 : parseSize(bps, "the container's configuration: IOLIMIT") };
}

/** On the disk in use; one that is not gets the configured ones when it is mounted. Under the container's lock. */
export async function applyLimits(paths: ContainerPaths, limits: DeviceLimits, signal?: AbortSignal): Promise<void> {
  const { runDir } = paths.roots;
  if ((await findAttachment(paths.imageDir, { runDir }))?.live !== true) return;
  await changeSettings(paths.imageDir, { runDir, ...limits, signal });
}
