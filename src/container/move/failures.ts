// SPDX-License-Identifier: Apache-2.0
// What `vzctl migrate` says when the other host does not answer: whose the container is, and how to go on.

import { PloopError } from '../../errors.js';

export interface Whose {
  ctid: string;
  host: string;
  /** The command was told to stop. */
  interrupted: boolean;
}

/** The move failed, and the other host does not know it: a container that nobody asks for may be left there. */
export function untoldFailure({ ctid, host, interrupted }: Whose, error: unknown, untold: unknown): PloopError {
  const known = error instanceof PloopError ? error : new PloopError(interrupted ? 'INTERRUPTED' : 'INTERNAL', String(error));
  const reason = untold instanceof Error ? untold.message : String(untold);
  const left = `${host} could not be told, so what has arrived there of container ${ctid} stays: ${reason}`;
  return new PloopError(known.code, `${known.message}; and ${left}`, {
    hint: `The container is still the one here. vzctl migrate ${ctid} ${host} goes on; to give up, remove what is there: vzctl destroy ${ctid} on ${host}`,
    details: known.details,
    cause: error,
  });
}

/** It is marked here, and the other host may have started it. */
export function undecided({ ctid, host }: Whose, cause: unknown): PloopError {
  return new PloopError('MOVING', `${host} does not say whether container ${ctid} was started there: ${String(cause)}`, {
    hint: `It stays stopped here. When the host can be reached: vzctl migrate ${ctid} ${host}`,
    cause,
  });
}
