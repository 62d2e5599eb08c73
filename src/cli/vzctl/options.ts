// SPDX-License-Identifier: Apache-2.0
// What the vzctl commands have in common: the container's id, and where containers live.
import type { VzRootOptions } from '../../container/place/roots.js';
import type { Argument, Option, ParsedArguments, ParsedOptions } from '../command.js';

export const CTID: Argument = { name: 'CTID', summary: 'container id: a number or a name', required: true };

export const VZ_ROOT: Option = {
  flags: '--vz-root <dir>',
  summary: 'keep all container files below this directory (default: PLOOP_VZ_ROOT, or /vz and /etc/vz/conf)',
};

export const RUNTIME: Option = {
  flags: '--runtime <runtime>',
  summary: 'OCI runtime: runc, crun or a path (default: PLOOP_RUNTIME, or the one that suits the host)',
};

export function ctidOf(args: ParsedArguments): string {
  return args['CTID'] as string;
}

export function rootsOf(options: ParsedOptions): VzRootOptions {
  return { vzRoot: textOf(options, 'vzRoot') };
}

export function textOf(options: ParsedOptions, name: string): string | undefined {
  return options[name] as string | undefined;
}
