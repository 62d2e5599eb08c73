#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// `npm start`: the main job on a small built-in template, through the commands a person would type. Every place is a
// temporary directory; the machine's own /vz and /run/ploop are not touched, and nothing stays behind.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const MIB = 1024 * 1024;
const CTID = '101';
const DATA_MIB = 48;

const here = dirname(fileURLToPath(import.meta.url));
const base = mkdtempSync('/var/tmp/p.');
const image = join(base, 'vz/private', CTID, 'root.hdd');
const env = { ...process.env, PLOOP_VZ_ROOT: join(base, 'vz'), PLOOP_RUN_DIR: join(base, 'run') };
const execFileAsync = promisify(execFile);

let interrupted = false;
let running;

/** Runs one of our commands and returns its output. */
async function command(program, ...args) {
  const done = execFileAsync(process.execPath, [join(here, `${program}.js`), ...args], { env, maxBuffer: 64 * MIB });
  running = done.child;
  const { stdout } = await done;
  return stdout.trim();
}

/** What `du` says: bytes that the image takes on the host. */
function hostBytes(folder = image) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).blocks * 512, 0);
}

function mib(bytes) {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

async function step(title, work) {
  if (interrupted) throw new Error('interrupted');
  const start = performance.now();
  const figure = await work();
  const tookMs = Math.round(performance.now() - start);
  process.stdout.write(`${title.padEnd(34)} ${String(tookMs).padStart(6)} ms   ${figure}\n`);
}

function exec(line) {
  return command('vzctl', 'exec', CTID, line);
}

function same(got, wanted, what) {
  if (got !== wanted) throw new Error(`${what}: got ${got}, expected ${wanted}`);
}

async function mainJob() {
  let template = '';
  let before = '';
  let full = 0;
  const tree = 'cd /data && find . -type f | sort | xargs sha256sum | sha256sum';

  await step('template: a busybox root', async () => {
    const { makeBusyboxTemplate } = await import('../dist/template/busybox.js');
    template = join(base, 'busybox.tar.gz');
    await makeBusyboxTemplate(template);
    return `${mib(statSync(template).size)} tarball`;
  });
  await step(`vzctl create ${CTID}, 1 GiB`, async () => {
    await command('vzctl', 'create', CTID, '--ostemplate', template, '--diskspace', '1G', '--hostname', 'demo');
    return `the host spends ${mib(hostBytes())}`;
  });
  await step(`vzctl start ${CTID}`, async () => {
    await command('vzctl', 'start', CTID);
    return (await command('vzctl', 'status', CTID)).replace(`CTID ${CTID} `, '');
  });
  await step(`vzctl exec: write ${DATA_MIB} MiB`, async () => {
    await exec(`mkdir /data && for i in 1 2 3 4; do dd if=/dev/urandom of=/data/$i bs=1M count=${DATA_MIB / 4} 2>/dev/null; done; sync`);
    before = await exec(tree);
    return `the host spends ${mib(hostBytes())}; sha256 of the tree ${before.slice(0, 12)}…`;
  });
  await step('vzctl snapshot, while it runs', async () => {
    const { id } = JSON.parse(await command('vzctl', 'snapshot', CTID, '--name', 'before', '--json'));
    return `snapshot ${id.slice(0, 8)}, the host spends ${mib(hostBytes())}`;
  });
  await step('vzctl exec: delete, overwrite', async () => {
    await exec('rm /data/1 /data/2; dd if=/dev/urandom of=/data/3 bs=1M count=4 conv=notrunc 2>/dev/null; sync');
    return `sha256 of the tree ${(await exec(tree)).slice(0, 12)}…, the host spends ${mib(hostBytes())}`;
  });
  await step(`vzctl stop ${CTID}`, async () => {
    await command('vzctl', 'stop', CTID);
    return (await command('vzctl', 'status', CTID)).replace(`CTID ${CTID} `, '');
  });
  await step('vzctl snapshot-switch, start', async () => {
    await command('vzctl', 'snapshot-switch', CTID, '--id', 'before', '--discard');
    await command('vzctl', 'start', CTID);
    same(await exec(tree), before, 'sha256 of the tree after snapshot-switch');
    return `sha256 of the tree ${before.slice(0, 12)}… again: every byte is back`;
  });
  await step('snapshot-delete, while stopped', async () => {
    await command('vzctl', 'stop', CTID);
    await command('vzctl', 'snapshot-delete', CTID, '--id', 'before');
    full = hostBytes();
    return `the host spends ${mib(full)}`;
  });
  await step('vzctl exec rm, ploop compact', async () => {
    await command('vzctl', 'start', CTID);
    await exec('rm -r /data; sync');
    await command('ploop', 'compact', image);
    return `the host spends ${mib(hostBytes())} instead of ${mib(full)}`;
  });
  await step(`vzctl stop, destroy ${CTID}`, async () => {
    await command('vzctl', 'stop', CTID);
    await command('vzctl', 'destroy', CTID);
    same((await command('vzlist', '-a', '-H', '-q')).length, 0, 'containers left');
    return 'nothing left';
  });
}

/** Whatever went wrong, nothing stays attached; what is not there is no trouble. */
async function cleanUp() {
  await command('vzctl', 'stop', CTID, '--fast').catch(() => {});
  await command('vzctl', 'destroy', CTID).catch(() => {});
  rmSync(base, { recursive: true, force: true });
}

if (process.getuid() !== 0) {
  process.stderr.write('npm start: containers, mounts and loop devices need root. Start it as root.\n');
  process.exit(18);
}
// The command that runs gets the signal too, cleans up after itself and fails; then everything else is undone.
const stop = (signal) => {
  if (!interrupted) process.stderr.write('\nInterrupted: cleaning up.\n');
  if (!interrupted) running?.kill(signal);
  interrupted = true;
};
process.on('SIGINT', stop).on('SIGTERM', stop);
try {
  await mainJob();
} catch (error) {
  if (!interrupted) process.stderr.write(error.stderr || `${error.message ?? error}\n`);
  process.exitCode = interrupted ? 130 : 1;
}
await cleanUp();
