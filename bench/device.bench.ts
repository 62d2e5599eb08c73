// SPDX-License-Identifier: Apache-2.0
// The data path against what a user would take instead: the same fio jobs on loop devices over a raw file, our image, and qcow2.
// In each round every workload runs on one contender after the other, so that a slow moment of the host meets all of them.
import { CONTENDERS, EMPTY, OVER_BASE } from './contender/all.js';
import type { Contender, Preparation } from './contender/contender.js';
import { compare, type Measured } from './device-report.js';
import { fill, fio, verifies } from './fio.js';
import { withWorkshop } from './images.js';
import { type BenchOptions, pick } from './options.js';
import type { Report } from './report.js';
import { fioArguments, type Workload, WORKLOADS } from './workloads.js';

/** wrong: it mixes up writes when there are several at a time, or even then when there are not. */
type Ready = readonly { name: string; contender: Contender; wrong: readonly ('deep' | 'single')[] }[];

export const NAMES = WORKLOADS.map(({ name }) => name);

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
    const ready: { name: string; contender: Contender; wrong: readonly ('deep' | 'single')[] }[] = [];
    try {
      for (const { name, make, content } of who) {
        say(`preparing ${name}`);
        const contender = await make(folder, options.sizeBytes, content);
        ready.push({ name, contender, wrong: [] });
        const wrong = [
          ...((await verifies(contender.device, 1)) ? [] : ['single' as const]),
          ...((await verifies(contender.device, 32)) ? [] : ['deep' as const]),
        ];
        ready.splice(-1, 1, { name, contender, wrong });
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
    of: ready.map(({ name, wrong }) => ({ name, iops: [], hostBytes: [], p99Us: [], wrong: isWrong(workload, wrong) })),
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

function isWrong({ fio: args }: Workload, wrong: readonly string[]): boolean {
  const writes = args.some((arg) => /^rw=.*(write|rw|trim)/.test(arg));
  const depth = Number(args.find((arg) => arg.startsWith('iodepth='))?.slice('iodepth='.length) ?? 1);
  return writes && wrong.includes(depth > 1 ? 'deep' : 'single');
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
