// SPDX-License-Identifier: Apache-2.0
// Control-C, SIGTERM and SIGHUP become one AbortSignal. A second one says that the clean-up is under way and waits for it.
import { PloopError } from '../errors.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interrupts {
  readonly signal: AbortSignal;
  /** Gives the signals back to their default action. */
  stop(): void;
}

export function watchInterrupts(say: (text: string) => void): Interrupts {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      say('Still cleaning up; please wait a moment.');
      return;
    }
    say('Interrupted: cleaning up.');
    controller.abort(new PloopError('INTERRUPTED', `interrupted by ${name}`));
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    stop() {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
