// SPDX-License-Identifier: Apache-2.0
// Ours: an attached image, with as many layers below the top as are wanted.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { takeSnapshot } from '../../src/attach/operations.js';
import { attachImage, type AttachResult, detachAttachment } from '../../src/attach/ploopd.js';
import { run } from '../../src/exec/run.js';
import { native } from '../../src/native/index.js';
import { fill, scatter } from '../fio.js';
import { type Contender, newFolder, type Preparation } from './contender.js';

export interface AttachedImage extends Contender {
  readonly dir: string;
  readonly attached: AttachResult & { device: string };
  /** For good: the image stays in its folder. */
  detach(): Promise<void>;
}

export interface ImageChoice {
  sizeBytes: number;
  /** `scattered`: only what `layers` and `topBytes` say. */
  content: Preparation['content'] | 'scattered';
  /** Rounds of a snapshot and scattered overwriting, on top of the first layer. */
  layers?: number;
  /** What such a round writes; default: all of them together the whole disk, or a tenth of it each. */
  scatteredBytes?: number;
  /** More in the top at the end. */
  topBytes?: number;
}

export async function image(parent: string, choice: ImageChoice): Promise<AttachedImage> {
  const { sizeBytes, content, layers = 0, topBytes = 0 } = choice;
  const scatteredBytes = choice.scatteredBytes ?? Math.ceil(sizeBytes / Math.max(layers, 10) / 4096) * 4096;
  const folder = await newFolder(parent);
  const dir = join(folder, 'image');
  const runDir = join(parent, 'run');
  await native.create(dir, { size: sizeBytes });
  const attach = async (): Promise<AttachedImage['attached']> => {
    const attached = await attachImage(dir, { runDir, sectorSizeBytes: 4096 });
    if (attached.device === null) throw new Error('attached without a device');
    return { ...attached, device: attached.device };
  };
  let attached = await attach();
  if (content === 'scattered') await scatter(attached.device, scatteredBytes, 1000);
  else if (content !== 'empty') await fill(attached.device);
  for (let layer = 0; layer < layers; layer++) {
    await takeSnapshot(dir, { runDir });
    await scatter(attached.device, scatteredBytes, layer + 1);
  }
  if (topBytes > 0) await scatter(attached.device, topBytes, 2000);
  const layered = content === 'base' || content === 'part';
  const base = layered ? (await takeSnapshot(dir, { runDir })).id : null;
  const open = async (): Promise<void> => {
    if (content === 'part') await scatter(attached.device, sizeBytes / 4, 1);
  };
  await open();
  return {
    dir,
    get attached() {
      return attached;
    },
    get device() {
      return attached.device;
    },
    hostBytes: async () => {
      await run('sync', [attached.device]);
      const files = await readdir(join(dir, 'layers'));
      const sizes = await Promise.all(files.map((file) => stat(join(dir, 'layers', file))));
      return sizes.reduce((sum, { blocks }) => sum + blocks * 512, 0);
    },
    reset: async () => {
      await detachAttachment(attached, { runDir });
      if (base === null) {
        await rm(dir, { recursive: true });
        await native.create(dir, { size: sizeBytes });
      } else {
        await native.switchTo(dir, base);
      }
      attached = await attach();
      await open();
    },
    detach: () => detachAttachment(attached, { runDir }),
    close: async () => {
      await detachAttachment(attached, { runDir });
      await rm(folder, { recursive: true });
    },
  };
}
