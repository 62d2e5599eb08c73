// SPDX-License-Identifier: Apache-2.0
// npm run test:kill:stream [-- KILLS [SEED]]: so many kills (default 200) of senders and receivers. Prints figures; status 1 when
// an image was not as it should be. Needs root.
import { makeScratch } from '../helpers/scratch.js';
import { randomNumbers } from '../helpers/random.js';
import { killTransfers } from './stream.js';

const kills = Number(process.argv[2] ?? 200);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
if (!(kills >= 1)) throw new Error('usage: npm run test:kill:stream [-- KILLS [SEED]]');

const scratch = await makeScratch();
process.stdout.write(`seed ${seed}\n`);
try {
  const { transfers, resumed, restarted, wrong, ...done } = await killTransfers(scratch, { kills, random: randomNumbers(seed) });
  process.stdout.write(
    `${done.kills} kills in ${transfers} transfers; went on ${resumed} times, began again ${restarted} times; wrong: ${wrong.length}\n`,
  );
  for (const one of wrong) process.stdout.write(`  ${one}\n`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  await scratch.clean();
}
