// SPDX-License-Identifier: Apache-2.0
// Container ids: numbers as on OpenVZ 6 ("101") and names as on OpenVZ 7. They become file names and cgroup names.

import { PloopError } from '../../errors.js';

const MAX_LENGTH = 63;

/** The id itself when it is one; otherwise INVALID_ARGUMENT. */
export function checkCtid(ctid: string): string {
  const refuse = (why: string): never => {
    throw new PloopError('INVALID_ARGUMENT', `${JSON.stringify(ctid)} is not a container id: ${why}`, {
      hint: 'An id is a number above 0, or a name of letters, digits, ".", "_" and "-" that begins with a letter or digit.',
    });
  };
  if (ctid === '') refuse('it is empty');
  if (ctid.length > MAX_LENGTH) refuse(`it is ${ctid.length} characters long, the limit is ${MAX_LENGTH}`);
  if (!/^[A-Za-z0-9]/.test(ctid)) refuse(`it begins with ${JSON.stringify(ctid[0])}`);
  const strange = /[^A-Za-z0-9._-]/.exec(ctid);
  if (strange !== null) refuse(`it has ${JSON.stringify(strange[0])} in it`);
  if (/^0+$/.test(ctid)) refuse('0 is the host');
  if (/^0\d/.test(ctid)) refuse('a number does not begin with 0');
  return ctid;
}

/** Numbers first, by value; then names. */
export function compareCtids(a: string, b: string): number {
  const [numberA, numberB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (numberA !== numberB) return numberA ? -1 : 1;
  return numberA ? a.length - b.length || a.localeCompare(b) : a.localeCompare(b);
}
