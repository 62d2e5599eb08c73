// SPDX-License-Identifier: Apache-2.0
// How commands say that an attachment is not well.
import type { Attachment } from '../../attach/attachments.js';
import { ERROR_EXIT_STATUS } from '../../errors.js';

/** "" when it runs; otherwise what is wrong, since when, why, and the way out. */
export function stateText(one: Attachment): string {
  switch (one.state) {
    case 'running':
      return '';
    case 'dead':
      return ', its ploopd is gone';
    case 'orphan':
      return `, its keeper was killed: nobody restarts the worker when it dies; use: ploop recover ${one.directory}`;
    case 'stopped':
      return `, stopped since ${one.stateSince}: requests wait; ${one.lastError ?? 'see the log'}; use: ploop recover ${one.directory}`;
    default:
      return `, ${one.state}${one.lastError === null ? '' : ` (${one.lastError})`}`;
  }
}

/** The exit status of commands that show attachments: DAEMON when one of them has stopped or lost its keeper, so that scripts notice. */
export function stoppedStatus(attachments: readonly Attachment[]): number {
  return attachments.some((one) => one.state === 'stopped' || one.state === 'orphan') ? ERROR_EXIT_STATUS.DAEMON : 0;
}
