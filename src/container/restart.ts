// SPDX-License-Identifier: Apache-2.0
// Restarting a container.

import { startContainer, type StartedContainer, type StartOptions } from './start.js';
import { stopContainer, type StoppedContainer, type StopOptions } from './stop.js';

export async function restartContainer(
  ctid: string,
  options: StartOptions & StopOptions = {},
): Promise<{ stopped: StoppedContainer; started: StartedContainer }> {
  const stopped = await stopContainer(ctid, options);
  return { stopped, started: await startContainer(ctid, options) };
}
