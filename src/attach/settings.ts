// SPDX-License-Identifier: Apache-2.0
// Settings of an image, changed while it is attached or not.
import { PloopError } from '../errors.js';
import { readDescriptor } from '../image/descriptor.js';
import { native, type DiscardPolicy } from '../native/index.js';
import { findAttachment, type OnFull } from './attachments.js';
import { control, deadDaemon } from './control.js';
import { whileDetached } from './operations.js';
import type { RunDirectoryOption } from './run-directory.js';

export interface ImageSettings {
  /** What writes do while the host is full; lasts until the image is detached. null: it is not attached. */
  onFull: OnFull | null;
  /** What discards give back to the host; lasts. */
  discard: DiscardPolicy;
}

export interface ChangeSettingsOptions extends RunDirectoryOption {
  onFull?: OnFull | undefined;
  discard?: DiscardPolicy | undefined;
  signal?: AbortSignal | undefined;
}

/** Changes what is given; answers all of them as they are then. */
export async function changeSettings(dir: string, options: ChangeSettingsOptions): Promise<ImageSettings & { directory: string }> {
  const { onFull, discard, signal } = options;
  const attachment = await findAttachment(dir, options);
  if (attachment !== null && !attachment.live) throw deadDaemon(attachment);
  if (attachment !== null) {
    const what = { ...(onFull === undefined ? {} : { onFull }), ...(discard === undefined ? {} : { discard }) };
    return { directory: attachment.directory, ...(await control(attachment, 'set', what, { signal })) };
  }
  await readDescriptor(dir);
  if (onFull !== undefined) {
    throw new PloopError('NOT_ATTACHED', `${dir} is not attached`, { hint: '--on-full belongs to attached images: see ploop attach.' });
  }
  if (discard !== undefined) await whileDetached(dir, () => native.setDiscard(dir, discard), { ...options, doing: 'changing a setting' });
  return { directory: dir, onFull: null, discard: (await readDescriptor(dir)).discard };
}
