// SPDX-License-Identifier: Apache-2.0
// One round of automatic compaction: attached images, one after the other, from where the last round stopped. An image that
// somebody wants to do something with is left at once; the next one follows.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { listAttachments, type Attachment } from '../../attach/attachments.js';
import { whileNoted } from '../../attach/compacting.js';
import { refuseWhileFull } from '../../attach/room.js';
import { runDirectory, type RunDirectoryOption } from '../../attach/run-directory.js';
import { PloopError } from '../../errors.js';
import { compactImage, type CompactedImage } from '../image/compact.js';
import { measureSpace, type SpaceEstimate } from '../space/measure.js';
import { syncFileSystem } from '../sync.js';
import { windowLeftMs, type CompactdConfig } from './config.js';

export interface RoundOptions extends RunDirectoryOption {
  signal?: AbortSignal | undefined;
  /** Gets a line for each image. */
  log: (entry: RoundEntry) => void;
  now?: (() => Date) | undefined;
}

export interface RoundEntry {
  at: string;
  directory: string;
  image: string;
  /** 'gave-way': somebody wanted the image; 'failed': see `error`. */
  outcome: 'compacted' | 'left-alone' | 'gave-way' | 'failed';
  smearBytesBefore: number | null;
  usedBytes: number | null;
  hostBytesBefore: number;
  hostBytesAfter: number;
  ms: number;
  steps: CompactedImage['steps'];
  error: string | null;
}

export interface Round {
  entries: RoundEntry[];
  /** Why it ended. */
  ended: 'all' | 'time' | 'window' | 'interrupted';
}

const STATE = 'compactd.json';

export async function compactRound(config: CompactdConfig, options: RoundOptions): Promise<Round> {
  const now = options.now ?? ((): Date => new Date());
  const endMs = performance.now() + config.roundSeconds * 1000;
  const entries: RoundEntry[] = [];
  for (const attachment of await inTurn(options)) {
    if (options.signal?.aborted === true) return { entries, ended: 'interrupted' };
    const windowMs = windowLeftMs(config, now());
    if (windowMs <= 0) return { entries, ended: 'window' };
    const leftMs = Math.min(windowMs, endMs - performance.now());
    if (leftMs <= 0) return { entries, ended: 'time' };
    const entry = await compactOne(attachment, Math.min(leftMs, config.imageSeconds * 1000), { ...options, config });
    options.log(entry);
    entries.push(entry);
    await remember(attachment.image, options);
  }
  return { entries, ended: options.signal?.aborted === true ? 'interrupted' : 'all' };
}

/** Writable tops that are served, in the order of their ids, beginning after the one that was last. */
async function inTurn(options: RoundOptions): Promise<Attachment[]> {
  const served = (await listAttachments(options)).filter(
    (one) => one.live && one.snapshot === null && !one.readOnly && one.state === 'running' && one.device !== null,
  );
  const ordered = served.toSorted((a, b) => a.image.localeCompare(b.image));
  const text = await readFile(join(runDirectory(options), STATE), 'utf8').catch(() => '{}');
  const last = lastOf(text);
  const next = ordered.findIndex((one) => one.image > last);
  return next <= 0 ? ordered : [...ordered.slice(next), ...ordered.slice(0, next)];
}

function lastOf(text: string): string {
  try {
    return String((JSON.parse(text) as { last?: unknown }).last ?? '');
  } catch {
    return '';
  }
}

async function remember(image: string, options: RoundOptions): Promise<void> {
  const folder = runDirectory(options);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, `${STATE}.new`), `${JSON.stringify({ last: image })}\n`);
  await rename(join(folder, `${STATE}.new`), join(folder, STATE));
}

async function compactOne(
  attachment: Attachment,
  budgetMs: number,
  options: RoundOptions & { config: CompactdConfig },
): Promise<RoundEntry> {
  const { config, runDir } = options;
  const { directory, image } = attachment;
  const startedMs = performance.now();
  const entry: RoundEntry = {
    at: new Date().toISOString(),
    directory,
    image,
    outcome: 'left-alone',
    smearBytesBefore: null,
    usedBytes: null,
    hostBytesBefore: 0,
    hostBytesAfter: 0,
    ms: 0,
    steps: [],
    error: null,
  };
  try {
    await whileNoted(
      { directory, image, kind: 'automatic' },
      (giveWay) => {
        const signal = options.signal === undefined ? giveWay : AbortSignal.any([options.signal, giveWay]);
        return compactWorthwhile(entry, { attachment, budgetMs, config, runDir, signal });
      },
      options,
    );
  } catch (error) {
    // BUSY: somebody is at it already.
    entry.outcome = error instanceof PloopError && ['INTERRUPTED', 'BUSY'].includes(error.code) ? 'gave-way' : 'failed';
    entry.error = error instanceof Error ? error.message : String(error);
  } finally {
    entry.ms = Math.round(performance.now() - startedMs);
  }
  return entry;
}

interface Job extends RunDirectoryOption {
  attachment: Attachment;
  budgetMs: number;
  config: CompactdConfig;
  signal: AbortSignal;
}

async function compactWorthwhile(entry: RoundEntry, { attachment, budgetMs, config, runDir, signal }: Job): Promise<void> {
  const { directory } = attachment;
  const found = await measureSpace(directory, { runDir, signal });
  const { smearBytes, usedBytes, hostBytes } = found.space;
  Object.assign(entry, { smearBytesBefore: smearBytes, usedBytes, hostBytesBefore: hostBytes, hostBytesAfter: hostBytes });
  if (smearBytes === null || usedBytes === null) return;
  const beyond = (bytes: number): boolean => bytes > config.smearBytes && bytes > (usedBytes * config.smearPercent) / 100;
  if (!beyond(freeable(found.space))) {
    if (!beyond(smearBytes)) return;
    await refuseWhileFull(attachment, 'compacting');
    // What was deleted a moment ago counts as free only once that is committed.
    for (const mountPoint of found.image.attachments.flatMap((one) => one.mountPoints).slice(0, 1)) await syncFileSystem(mountPoint);
    if (!beyond(freeable((await measureSpace(directory, { runDir, signal })).space))) return;
  }
  const done = await compactImage(directory, {
    runDir,
    signal,
    automatic: true,
    busyPercent: config.busyPercent,
    timeBudgetMs: budgetMs,
    ...(config.rateBytesPerSecond === null ? {} : { rateBytesPerSecond: config.rateBytesPerSecond }),
  });
  Object.assign(entry, { outcome: 'compacted', hostBytesAfter: done.hostBytesAfter, steps: done.steps });
}

/** Of the smear, what compaction can free: the rest goes with snapshots, or is metadata. Where that is not known, all of it. */
function freeable({ smearBytes, trimBytes, packBytes }: SpaceEstimate): number {
  return trimBytes === null ? (smearBytes ?? 0) : trimBytes + (packBytes ?? 0);
}
