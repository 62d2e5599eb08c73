// SPDX-License-Identifier: Apache-2.0
// A few kills of senders and receivers; `npm run test:kill:stream` makes 200.
import { describe, expect, it } from 'vitest';

import { lacks } from '../helpers/require.js';
import { scratchPerTest } from '../helpers/scratch-per-test.js';
import { randomNumbers } from '../helpers/random.js';
import { killTransfers } from '../kill/stream.js';

const scratch = scratchPerTest();

describe.skipIf(lacks('root', 'fuse', 'loop'))('a transfer whose sides are killed', () => {
  it('leaves what was there, and completes when it is gone on with', async () => {
    const seed = Number(process.env['PLOOP_SEED'] ?? Date.now() % 1_000_000);
    const figures = await killTransfers(scratch, { kills: 10, random: randomNumbers(seed) });
    expect({ seed, wrong: figures.wrong, kills: figures.kills >= 10 }).toEqual({ seed, wrong: [], kills: true });
    expect(figures.resumed).toBeGreaterThan(0);
  });
});
