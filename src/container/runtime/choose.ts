// SPDX-License-Identifier: Apache-2.0
// Which OCI runtime runs a container: what the caller asks for, or the one that suits the host's control groups
// (runc where there are v1 controllers, crun on pure v2), or else the other one if that is all there is.

import { basename, resolve } from 'node:path';

import { PloopError } from '../../errors.js';
import { findProgram } from '../../exec/find.js';
import { run } from '../../exec/run.js';
import type { CgroupMode } from './cgroups.js';

export type RuntimeKind = 'runc' | 'crun' | 'other';

export interface RuntimeProgram {
  kind: RuntimeKind;
  path: string;
}

/** `wanted`: "runc", "crun" or a path; default $PLOOP_RUNTIME, default by probe. */
export async function chooseRuntime(mode: CgroupMode, wanted: string | undefined = process.env['PLOOP_RUNTIME']): Promise<RuntimeProgram> {
  if (mode === 'none') {
    throw new PloopError('UNSUPPORTED', 'no control groups are mounted at /sys/fs/cgroup; a container needs them', {
      hint: 'Mount them with: mount -t cgroup2 none /sys/fs/cgroup',
    });
  }
  if (wanted !== undefined && wanted !== '') return explicit(wanted);
  const [first, second] = runtimeOrder(mode);
  try {
    return { kind: first, path: await findProgram(first) };
  } catch (error) {
    const other = await findProgram(second).catch(() => null);
    if (other === null) throw error;
    return { kind: second, path: other };
  }
}

export function runtimeOrder(mode: CgroupMode): ['runc' | 'crun', 'runc' | 'crun'] {
  return mode === 'v2' ? ['crun', 'runc'] : ['runc', 'crun'];
}

async function explicit(wanted: string): Promise<RuntimeProgram> {
  const path = await findProgram(wanted.includes('/') ? resolve(wanted) : wanted);
  return { kind: await kindOf(path), path };
}

/** By what it says of itself; its name may be anything. */
async function kindOf(path: string): Promise<RuntimeKind> {
  const { stdout } = await run(path, ['--version'], { accept: 'any', timeoutMs: 10_000 });
  const word = /^(crun|runc)\b/.exec(stdout.trim())?.[1] ?? basename(path);
  return word === 'crun' || word === 'runc' ? word : 'other';
}
