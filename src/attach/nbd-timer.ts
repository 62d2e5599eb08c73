// SPDX-License-Identifier: Apache-2.0
// How long the kernel's NBD client waits before it repeats what a dead worker has left (csrc/ploopd/device/via_nbd.c): longer
// for a device with limits, whose requests are slow without anybody being dead.

import { writeFile } from 'node:fs/promises';

import type { Attachment } from './attachments.js';

const REPEAT_MS = 2000;
const REPEAT_LIMITED_MS = 5000;

/** After the limits have changed. Does nothing to other devices. */
export async function adaptNbdTimer(attachment: Attachment, limits: { iops: number | null; bps: number | null }): Promise<void> {
  const { via, device } = attachment;
  if (via !== 'nbd' || device === null) return;
  const limited = limits.iops !== null || limits.bps !== null;
  const path = `/sys/block/${device.replace('/dev/', '')}/queue/io_timeout`;
  // Without it there are more lines in the kernel's log, or fewer: no reason to fail.
  await writeFile(path, String(limited ? REPEAT_LIMITED_MS : REPEAT_MS)).catch(() => undefined);
}
