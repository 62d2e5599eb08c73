// SPDX-License-Identifier: Apache-2.0
// Settings of an image, changed while it is attached or not.
import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { native, type DiscardPolicy } from '../native/index.js';
import { findAttachment, type DeviceLimits, type OnFull } from './attachments.js';
import { control, deadDaemon } from './control.js';
import { adaptNbdTimer } from './nbd-timer.js';
import { whileDetached } from './operations.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface ImageSettings {
  /** What writes do while the host is full; lasts until the image is detached. null: it is not attached. */
  onFull: OnFull | null;
  /** What discards give back to the host; lasts. */
  discard: DiscardPolicy;
  /** Operations a second at most; lasts until the image is detached. null: no limit. */
  iops: number | null;
  /** Bytes a second at most. */
  bps: number | null;
}

export interface ChangeSettingsOptions extends RunDirectoryOption, DeviceLimits {
  onFull?: OnFull | undefined;
  discard?: DiscardPolicy | undefined;
  signal?: AbortSignal | undefined;
}

/** Changes what is given; answers all of them as they are then. */
export async function changeSettings(dir: string, options: ChangeSettingsOptions): Promise<ImageSettings & { directory: string }> {
  const { onFull, discard, iops, bps, signal } = options;
  const attachment = await findAttachment(dir, options);
  if (attachment !== null && !attachment.live) throw deadDaemon(attachment);
  if (attachment !== null) {
    const what = Object.fromEntries(Object.entries({ onFull, discard, iops, bps }).filter(([, value]) => value !== undefined));
    const now = await control(attachment, 'set', what, { signal });
    if (iops !== undefined || bps !== undefined) await adaptNbdTimer(attachment, now);
    return { directory: attachment.directory, ...now };
  }
  await readDescriptor(dir);
  const missing = Object.entries({ '--on-full': onFull, '--iops': iops, '--bps': bps }).find(([, value]) => value !== undefined);
  if (missing !== undefined) {
    throw new PloopError('NOT_ATTACHED', `${dir} is not attached`, { hint: `${missing[0]} belongs to attached images: see ploop attach.` });
  }
  if (discard !== undefined) await whileDetached(dir, () => native.setDiscard(dir, discard), { ...options, doing: 'changing a setting' });
  return { directory: dir, onFull: null, discard: (await readDescriptor(dir)).discard, iops: null, bps: null };
}
