// SPDX-License-Identifier: Apache-2.0
// An sshd of the test's own, on the loopback interface, with its own keys; never the system's. Who logs in finds our programs,
// with another run directory (and other variables) than here: as good as another host.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run } from '../../src/exec/run.js';

export interface Sshd {
  /** A command that reaches it, for --rsh; the host's name is anything. */
  rsh: string;
  stop(): Promise<void>;
}

export async function startSshd(folder: string, env: { PLOOP_RUN_DIR: string } & Record<string, string>): Promise<Sshd> {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  await mkdir('/run/sshd', { recursive: true }); // where sshd locks itself in, empty
  for (const key of ['host', 'user']) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
  for (const name of ['ploop', 'vzctl']) {
    const script = fileURLToPath(new URL(`../../bin/${name}.js`, import.meta.url));
    await writeFile(join(bin, name), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
    await chmod(join(bin, name), 0o755);
  }
  const daemon = await startDaemon(folder, { PATH: `${bin}:${process.env.PATH}`, ...env });
  const stop = async (): Promise<void> => {
    if (daemon.exitCode !== null || !daemon.kill()) return;
    await once(daemon, 'exit');
  };
  return { rsh: `ssh -F ${join(folder, 'ssh_config')}`, stop };
}

/** Somebody else may take the port that was free just now. */
async function startDaemon(folder: string, env: Record<string, string>): Promise<ChildProcess> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    await writeFile(join(folder, 'sshd_config'), serverConfig(folder, port, env));
    await writeFile(join(folder, 'ssh_config'), clientConfig(folder, port));
    const daemon = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const said = await listening(daemon);
    if (said === null) return daemon;
    if (attempt === 5 || !said.includes('in use')) throw new Error(`sshd did not start: ${said}`);
  }
}

function serverConfig(folder: string, port: number, env: Record<string, string>): string {
  const set = Object.entries(env).map(([name, value]) => `"${name}=${value}"`);
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, 'host')}`,
    `PidFile ${join(folder, 'sshd.pid')}`,
    `AuthorizedKeysFile ${join(folder, 'user.pub')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
    `SetEnv ${set.join(' ')}`,
    '',
  ].join('\n');
}

function clientConfig(folder: string, port: number): string {
  return [
    'Host *',
    '  HostName 127.0.0.1',
    `  Port ${port}`,
    '  User root',
    `  IdentityFile ${join(folder, 'user')}`,
    '  IdentitiesOnly yes',
    '  BatchMode yes',
    '  StrictHostKeyChecking accept-new',
    `  UserKnownHostsFile ${join(folder, 'known_hosts')}`,
    '',
  ].join('\n');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** null when it listens, what it said when it ended instead. */
async function listening(daemon: ChildProcess): Promise<string | null> {
  let said = '';
  for await (const part of daemon.stderr?.setEncoding('utf8').iterator({ destroyOnReturn: false }) ?? []) {
    said += String(part);
    if (said.includes('Server listening')) break;
  }
  if (!said.includes('Server listening')) return said;
  daemon.stderr?.resume();
  return null;
}
