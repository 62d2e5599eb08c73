// SPDX-License-Identifier: Apache-2.0
// The data path against what a user would take instead: the same fio jobs on loop devices over a raw file, our image, and qcow2.
// In each round every workload runs on one contender after the other, so that a slow moment of the host meets all of them.
import { CONTENDERS, EMPTY, OVER_BASE } from './contender/all.js';
import type { Contender, Preparation } from './contender/contender.js';
import { compare, type Measured } from './device-report.js';
import { fill, fio } from './fio.js';
import { withWorkshop } from './images.js';
import { type BenchOptions, pick } from './options.js';
import type { Report } from './report.js';
import { fioArguments, type Workload, WORKLOADS } from './workloads.js';

type Ready = readonly { name: string; contender: Contender }[];

const STAGES: readonly { on: readonly Workload['on'][]; who: readonly Preparation[] }[] = [
  { on: ['steady', 'spoils'], who: CONTENDERS },
  { on: ['over-base'], who: OVER_BASE },
  { on: ['empty'], who: EMPTY },
];

export async function bench(options: BenchOptions): Promise<Report[]> {
  const workloads = pick('workload', WORKLOADS, options.only);
  pick('contender', CONTENDERS, options.against);
  const measured: Measured[] = [];
  for (const { on, who } of STAGES) {
    const now = workloads.filter((workload) => on.includes(workload.on));
    const wanted = who.filter(({ name }, at) => at === 0 || options.against.length === 0 || options.against.includes(name));
    if (now.length > 0) measured.push(...(await stage(now, wanted, options)));
  }
  return compare(measured);
}

async function stage(workloads: readonly Workload[], who: readonly Preparation[], options: BenchOptions): Promise<Measured[]> {
  return withWorkshop(async ({ folder }) => {
    const ready: { name: string; contender: Contender }[] = [];
    try {
      for (const { name, make, content } of who) {
        say(`preparing ${name}`);
        ready.push({ name, contender: await make(folder, options.sizeBytes, content) });
      }
      return await rounds(workloads, ready, options);
    } finally {
      for (const { contender } of ready) await contender.close();
    }
  });
}

async function rounds(workloads: readonly Workload[], ready: Ready, options: BenchOptions): Promise<Measured[]> {
  const all = workloads.map((workload): Measured => ({
    workload,
    of: ready.map(({ name }) => ({ name, iops: [], hostBytes: [], p99Us: [] })),
  }));
  for (let round = 0; round < options.rounds; round++) {
    for (const { workload, of } of all) {
      say(`round ${round + 1} of ${options.rounds}: ${workload.name}`);
      for (const [at, { contender }] of ready.entries()) {
        const { iops, p99Us, hostBytes } = await measure(workload, contender, { seconds: options.seconds, round });
        of[at]?.iops.push(iops);
        of[at]?.p99Us.push(p99Us);
        of[at]?.hostBytes.push(hostBytes);
      }
    }
  }
  return all;
}

async function measure(workload: Workload, contender: Contender, when: { seconds: number; round: number }) {
  const begins = workload.on === 'over-base' || workload.on === 'empty';
  if (begins) await contender.reset();
  const before = begins ? await contender.hostBytes() : 0;
  const result = await fio(contender.device, fioArguments(workload, when));
  const hostBytes = begins ? (await contender.hostBytes()) - before : 0;
  if (workload.on === 'spoils') await fill(contender.device);
  return { ...result, hostBytes };
}

function say(text: string): void {
  process.stderr.write(`bench: device: ${text}\n`);
}
