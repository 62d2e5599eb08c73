// SPDX-License-Identifier: Apache-2.0
// The `vzlist` program: one command, a table of containers with the columns that were asked for.
import { type ContainerRow, listContainers } from '../container/list.js';
import { PloopError } from '../errors.js';
import { nearest } from '../native/arguments.js';
import type { Command, ParsedOptions, Program } from './command.js';
import { runProgram } from './program.js';
import { type Column, table } from './table.js';
import { rootsOf, VZ_ROOT } from './vzctl/options.js';

interface Field extends Column {
  text(row: ContainerRow): string;
}

const kib = (bytes: number | null): string => (bytes === null ? '-' : String(Math.ceil(bytes / 1024)));
const word = (value: string | number | null): string => (value === null || value === '' ? '-' : String(value));

/** OpenVZ's names where it has the field; figures of disk space are in KiB, as there. */
const FIELDS: Readonly<Record<string, Field>> = {
  ctid: { title: 'CTID', right: true, text: (row) => row.ctid },
  numproc: { title: 'NPROC', right: true, text: (row) => word(row.nproc) },
  status: { title: 'STATUS', text: (row) => row.status },
  ip: { title: 'IP_ADDR', text: (row) => word(row.ips.join(' ')) },
  hostname: { title: 'HOSTNAME', text: (row) => word(row.hostname) },
  ostemplate: { title: 'OSTEMPLATE', text: (row) => word(row.ostemplate) },
  diskspace: { title: 'DSPACE', right: true, text: (row) => kib(row.usedBytes) },
  'diskspace.h': { title: 'DSPACE.H', right: true, text: (row) => kib(row.diskspaceBytes) },
  device: { title: 'DEVICE', text: (row) => word(row.device) },
  pid: { title: 'PID', right: true, text: (row) => word(row.pid) },
  runtime: { title: 'RUNTIME', text: (row) => word(row.runtime) },
  layout: { title: 'LAYOUT', text: (row) => row.layout },
  private: { title: 'PRIVATE', text: (row) => row.privateDir },
  root: { title: 'ROOT', text: (row) => row.mountPoint },
  uuid: { title: 'UUID', text: (row) => word(row.uuid) },
  onboot: { title: 'ONBOOT', text: (row) => (row.onboot ? 'yes' : 'no') },
  description: { title: 'DESCRIPTION', text: (row) => word(row.description) },
};
const ALIASES: Readonly<Record<string, string>> = { nproc: 'numproc', veid: 'ctid', ip_addr: 'ip', 'diskspace.s': 'diskspace.h' };
const DEFAULT_FIELDS = ['ctid', 'numproc', 'status', 'ip', 'hostname'];

export const listCommand: Command = {
  name: 'vzlist',
  summary: 'list containers',
  description: `Lists running containers. Fields for -o: ${Object.keys(FIELDS).join(', ')}. Figures of disk space are in KiB. With --json, every field of every container listed.`,
  options: [
    { flags: '-a, --all', summary: 'all containers, not only the running ones' },
    { flags: '-S, --stopped', summary: 'only those that do not run' },
    { flags: '-o, --output <fields>', summary: 'columns, separated by commas', parse: (words) => parseFields(words) },
    { flags: '-H, --no-header', summary: 'no header line' },
    VZ_ROOT,
  ],
  examples: [
    ['vzlist -a', 'all containers'],
    ['vzlist -H -o ctid', 'the ids of the running ones, for scripts'],
  ],
  async run(ctx, _args, options) {
    const rows = (await listContainers(rootsOf(options))).filter((row) => wanted(row, options));
    const names = (options['output'] as string[] | undefined) ?? DEFAULT_FIELDS;
    const fields = names.map((name) => FIELDS[name] as Field);
    if (rows.length === 0) ctx.note('Container(s) not found');
    const cells = rows.map((row) => fields.map((field) => field.text(row)));
    ctx.result(rows, rows.length === 0 ? '' : table(fields, cells, options['header'] !== false));
  },
};

function wanted(row: ContainerRow, options: ParsedOptions): boolean {
  const up = row.status === 'running' || row.status === 'paused';
  if (options['stopped'] === true) return !up;
  return up || options['all'] === true;
}

function parseFields(words: string): string[] {
  return words.split(',').map((name) => {
    const known = ALIASES[name] ?? name;
    if (Object.hasOwn(FIELDS, known)) return known;
    const likely = nearest(name, Object.keys(FIELDS));
    throw new PloopError('INVALID_ARGUMENT', `-o: there is no field '${name}'`, {
      hint: likely === undefined ? `The fields are: ${Object.keys(FIELDS).join(', ')}` : `Did you mean '${likely}'?`,
    });
  });
}

export const vzlistProgram: Program = {
  name: 'vzlist',
  summary: 'list containers',
  description: 'Lists containers with what the runtime says about them. Running ones; all of them with -a.',
  command: listCommand,
};

export async function run(): Promise<void> {
  await runProgram(vzlistProgram);
}
