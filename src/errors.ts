// SPDX-License-Identifier: Apache-2.0
// The one error class. Its codes are those of csrc/include/ploop/errors.def and docs/errors.md; a test ties the three.

/** Code → exit status of the commands. */
export const ERROR_EXIT_STATUS = {
  INVALID_ARGUMENT: 2,
  NOT_AN_IMAGE: 3,
  CORRUPT: 4,
  UNSUPPORTED_FEATURE: 5,
  EXISTS: 6,
  NOT_FOUND: 7,
  SNAPSHOT_NOT_FOUND: 8,
  AMBIGUOUS_ID: 9,
  BUSY: 10,
  ATTACHED: 11,
  NOT_ATTACHED: 12,
  MOUNTED: 13,
  NO_SPACE: 14,
  IO: 15,
  NO_MEMORY: 16,
  READ_ONLY: 17,
  NOT_PERMITTED: 18,
  TOOL_MISSING: 19,
  TOOL_FAILED: 20,
  INTERRUPTED: 130,
  DAEMON: 21,
  TIMEOUT: 22,
  UNSUPPORTED: 23,
  CONTAINER_NOT_FOUND: 24,
  CONTAINER_RUNNING: 25,
  CONTAINER_STOPPED: 26,
  TEMPLATE_NOT_FOUND: 27,
  DAMAGED: 28,
  INTERNAL: 70,
  REPAIRED: 29,
  BAD_STREAM: 30,
  MOVING: 31,
} as const;

export type ErrorCode = keyof typeof ERROR_EXIT_STATUS;

export interface PloopErrorOptions {
  /** The way out, as a sentence: "Detach it with: ploop detach DIR". */
  hint?: string | undefined;
  details?: Record<string, unknown> | undefined;
  cause?: unknown;
}

export class PloopError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: PloopErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  get exitStatus(): number {
    return ERROR_EXIT_STATUS[this.code];
  }
}
Object.defineProperty(PloopError.prototype, 'name', { value: 'PloopError' });

export function isErrorCode(word: unknown): word is ErrorCode {
  return typeof word === 'string' && Object.hasOwn(ERROR_EXIT_STATUS, word);
}
