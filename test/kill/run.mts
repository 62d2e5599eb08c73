// SPDX-License-Identifier: Apache-2.0
// npm run test:kill [-- KILLS [SEED]]: at least KILLS kills at random times (default 120), spread over all scenarios. Prints
// figures for each and in total; status 1 when anything was lost. Needs root.
import { makeScratch } from '../helpers/scratch.js';
import { killUnderContainer } from './container.js';
import { killUnderFio, killUnderStress } from './device.js';
import { addFigures, type Figures, noFigures, renderFigures } from './figures.js';
import { randomNumbers } from '../helpers/random.js';
import { type KillOptions } from './killer.js';
import { killInsideDelete, killInsideOperations } from './operations.js';

const kills = Number(process.argv[2] ?? 120);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
if (!(kills >= 1)) throw new Error('usage: npm run test:kill [-- KILLS [SEED]]');

const scratch = await makeScratch();
const random = randomNumbers(seed);
const share = (part: number, pauseMs: number): KillOptions => ({ kills: Math.ceil(kills * part), pauseMs, random });

const SCENARIOS: readonly (readonly [string, () => Promise<Figures>])[] = [
  ['verified load on a fresh image', () => killUnderStress(scratch, { ...share(0.2, 1200), overBase: false })],
  ['verified load over a base', () => killUnderStress(scratch, { ...share(0.15, 1200), overBase: true })],
  ['the same, never flushed', () => killUnderStress(scratch, { ...share(0.05, 800), overBase: true, flush: 0 })],
  ['fio --verify on a fresh image', () => killUnderFio(scratch, { ...share(0.15, 2500), overBase: false })],
  ['fio --verify over a base', () => killUnderFio(scratch, { ...share(0.1, 2500), overBase: true })],
  ['a container that writes files', () => killUnderContainer(share(0.15, 1500))],
  ['inside snapshot, compact, resize', () => killInsideOperations(scratch, share(0.15, 0))],
  ['inside snapshot-delete', () => killInsideDelete(scratch, share(0.05, 0))],
];

process.stdout.write(`seed ${seed}\n`);
let total = noFigures();
try {
  for (const [name, scenario] of SCENARIOS) {
    const figures = await scenario();
    process.stdout.write(`${name}: ${renderFigures(figures)}\n`);
    total = addFigures(total, figures);
  }
} finally {
  await scratch.clean();
}
process.stdout.write(`\ntotal: ${renderFigures(total)}\n`);
process.exitCode = total.ioErrors + total.verifyErrors === 0 && total.kills >= kills ? 0 : 1;
