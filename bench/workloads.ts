// SPDX-License-Identifier: Apache-2.0
// What is done to a device. `steady` ones repeat on the same contenders; the others have to begin anew in each round.

export interface Workload {
  name: string;
  title: string;
  /** `steady`: all blocks are there. `over-base`: the first write over a base. `empty`: the first write of all. `spoils`: leaves holes. */
  on: 'steady' | 'over-base' | 'empty' | 'spoils';
  fio: readonly string[];
  /** How much is done, instead of for how long. */
  bytes?: number;
}

const MIB = 2 ** 20;

export const WORKLOADS: readonly Workload[] = [
  steady('randread-qd1', '4 KiB random read, QD1', 'rw=randread', 'bs=4k', 'iodepth=1'),
  steady('randread-qd32', '4 KiB random read, QD32', 'rw=randread', 'bs=4k', 'iodepth=32'),
  steady('randwrite-qd1', '4 KiB random write, QD1', 'rw=randwrite', 'bs=4k', 'iodepth=1'),
  steady('randwrite-qd32', '4 KiB random write, QD32', 'rw=randwrite', 'bs=4k', 'iodepth=32'),
  steady('mixed-qd32', '4 KiB random, 70 % reads, QD32', 'rw=randrw', 'rwmixread=70', 'bs=4k', 'iodepth=32'),
  steady('seqread-128k', '128 KiB sequential read, QD8', 'rw=read', 'bs=128k', 'iodepth=8'),
  steady('seqread-1m', '1 MiB sequential read, QD4', 'rw=read', 'bs=1M', 'iodepth=4'),
  steady('seqwrite-128k', '128 KiB sequential write, QD8', 'rw=write', 'bs=128k', 'iodepth=8'),
  steady('seqwrite-1m', '1 MiB sequential write, QD4', 'rw=write', 'bs=1M', 'iodepth=4'),
  steady('fsync', '4 KiB random write + fsync each', 'rw=randwrite', 'bs=4k', 'iodepth=1', 'fsync=1'),
  {
    name: 'cow',
    title: '4 KiB random first write over a base, QD32',
    on: 'over-base',
    bytes: 48 * MIB,
    fio: ['rw=randwrite', 'bs=4k', 'iodepth=32'],
  },
  {
    name: 'cow-qd1',
    title: '4 KiB random first write over a base, QD1',
    on: 'over-base',
    bytes: 8 * MIB,
    fio: ['rw=randwrite', 'bs=4k', 'iodepth=1'],
  },
  {
    name: 'cow-fsync',
    title: '4 KiB first write over a base + fsync each',
    on: 'over-base',
    bytes: 2 * MIB,
    fio: ['rw=randwrite', 'bs=4k', 'fsync=1'],
  },
  { name: 'first-1m', title: '1 MiB sequential first write', on: 'empty', bytes: 256 * MIB, fio: ['rw=write', 'bs=1M', 'iodepth=4'] },
  { name: 'first-4k', title: '4 KiB random first write, QD32', on: 'empty', bytes: 48 * MIB, fio: ['rw=randwrite', 'bs=4k', 'iodepth=32'] },
  { name: 'trim-4k', title: '4 KiB random trim', on: 'spoils', bytes: 8 * MIB, fio: ['rw=randtrim', 'bs=4k'] },
];

function steady(name: string, title: string, ...fio: string[]): Workload {
  return { name, title, on: 'steady', fio };
}

/** `round` is the seed: the contenders of a round get the same requests. */
export function fioArguments({ fio, bytes }: Workload, { seconds, round }: { seconds: number; round: number }): string[] {
  const amount = bytes === undefined ? ['time_based', `runtime=${seconds}`] : [`io_size=${bytes}`];
  return [...fio, ...amount, `randseed=${round + 1}`];
}
