// SPDX-License-Identifier: Apache-2.0
// Requests that wait because the host's file system is full (--on-full pause), and what must not start meanwhile: a freeze,
// an umount or a trim would wait for them, in the kernel, where nothing can interrupt it.

import { PloopError } from '../errors.js';
import type { Attachment } from './attachments.js';
import { askToGiveWay, type AskOptions } from './compacting.js';
import { control } from './control.js';

export interface WaitingRequests {
  requests: number;
  since: string | null;
}

/** null: none wait, or nobody can say. */
export async function waitingRequests(attachment: Attachment): Promise<WaitingRequests | null> {
  if (!attachment.live || (attachment.state !== 'running' && attachment.state !== 'orphan')) return null;
  const stats = await control(attachment, 'stats', {}, { timeoutMs: 5000 }).catch(() => null);
  return stats === null || !(stats.full > 0) ? null : { requests: stats.full, since: stats.fullSince };
}

/** Makes a compaction give way first (see compacting.ts). NO_SPACE, with the ways out, while requests of the image wait for room. */
export async function refuseWhileFull(attachment: Attachment, doing: string, options: AskOptions = {}): Promise<void> {
  await askToGiveWay(attachment, options);
  const waiting = await waitingRequests(attachment);
  if (waiting === null) return;
  const { directory } = attachment;
  const message = `${doing} would wait: the host's file system is full, and ${waiting.requests} requests of ${directory} wait for room`;
  throw new PloopError('NO_SPACE', message, {
    hint: `Make room on the host, and they go on; or let them fail: ploop set ${directory} --on-full error`,
    details: { requests: waiting.requests, since: waiting.since },
  });
}
