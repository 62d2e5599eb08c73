// SPDX-License-Identifier: Apache-2.0
// Templates as images: the first container of a template, file system and size fills an image with it; that one and all others
// are clones of it, which takes milliseconds and no copy. The images are beside the tarballs, in template/image. They may be
// removed at any time: containers keep what they need of them.
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { cloneImage } from '../filesystem/image/clone.js';
import { newImage } from '../filesystem/image/create.js';
import { native } from '../native/index.js';
import { templateNameOf } from './cache.js';

export interface TemplateImageOptions {
  /** Path of the tarball. */
  template: string;
  fs: 'ext4' | 'xfs';
  sizeBytes: number;
  cacheDir: string;
  runDir: string;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const SNAPSHOT = 'template';

/** An image in `dir` that is filled with the template. */
export async function imageFromTemplate(dir: string, options: TemplateImageOptions): Promise<void> {
  const { image, kind } = await placeOf(options);
  if (!(await exists(join(image, 'image.json')))) await build(image, kind, options);
  await cloneImage(image, dir, { snapshot: SNAPSHOT, copy: true, runDir: options.runDir, signal: options.signal });
}

/** Another tarball of the same name, or a newer one, has another place. */
async function placeOf({ template, fs, sizeBytes, cacheDir }: TemplateImageOptions): Promise<{ image: string; kind: string }> {
  const { mtimeMs, size, ino } = await stat(template);
  const version = createHash('sha256').update(`${template}\0${mtimeMs}\0${size}\0${ino}`).digest('hex').slice(0, 12);
  const kind = `${templateNameOf(basename(template)) ?? basename(template)}-${fs}-${sizeBytes}-`;
  return { image: join(dirname(cacheDir), 'image', `${kind}${version}`), kind };
}

async function build(image: string, kind: string, options: TemplateImageOptions): Promise<void> {
  const { template, fs, sizeBytes, runDir, onProgress, signal } = options;
  const draft = `${image}.${process.pid}.new`;
  await mkdir(dirname(image), { recursive: true, mode: 0o700 });
  await rm(draft, { recursive: true, force: true });
  try {
    await newImage(draft, { runDir, sizeBytes, fs, from: template, onProgress, signal });
    await native.snapshot(draft, { name: SNAPSHOT });
    await rename(draft, image);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another command was faster.
    if (!(await exists(join(image, 'image.json')))) throw error;
  }
  await removeStale(image, kind);
}

/** Of tarballs that have been replaced. Clones have links of their own. */
async function removeStale(image: string, kind: string): Promise<void> {
  const [folder, present] = [dirname(image), basename(image)];
  for (const name of await readdir(folder)) {
    const stale = name.startsWith(kind) && /^[0-9a-f]{12}$/.test(name.slice(kind.length)) && name !== present;
    if (stale) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
