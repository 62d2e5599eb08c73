// SPDX-License-Identifier: Apache-2.0
// An exported image for the NBD tests, and the real tools that are its clients.
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach } from 'vitest';

import { exportImage, type ExportImageOptions, type ImageExport } from '../../../src/attach/exports.js';
import { run, type RunResult } from '../../../src/exec/run.js';
import { makeScratch, type Places, type Scratch } from '../../helpers/scratch.js';
import { createImage } from '../device.js';

export const MIB = 2 ** 20;

/** One scratch directory for the tests of a describe(), and in it an image for each; `use` is told which. */
export function imagePerTest(sizeBytes: number, use: (dir: string, scratch: Places) => void): void {
  let scratch: Scratch;
  let count = 0;
  beforeAll(async () => {
    scratch = await makeScratch();
  });
  afterAll(() => scratch.clean());
  beforeEach(async () => use(await createImage(scratch, `img${count++}`, sizeBytes), scratch));
}

/** On a unix socket in the scratch directory. */
export function exported(scratch: Places, dir: string, options: ExportImageOptions = {}): Promise<ImageExport> {
  const where = options.listen === undefined ? { socket: scratch.path(`${options.name ?? 'disk'}.sock`) } : {};
  return exportImage(dir, { name: 'disk', ...where, ...options, runDir: scratch.runDir });
}

/** Runs a client; one that hangs is a failure. */
export function client(program: string, ...args: string[]): Promise<RunResult> {
  return run(program, args, { timeoutMs: 60_000 });
}

export async function randomFile(scratch: Places, name: string, bytes: number): Promise<string> {
  const path = scratch.path(name);
  await run('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${bytes / MIB}`, 'status=none']);
  return path;
}

/** A certificate authority, a server (localhost, 127.0.0.1) and a client, as qemu and nbdkit want them; and keys. */
export async function makeCredentials(dir: string): Promise<{ x509: string; psk: string }> {
  const script = `set -e
    mkdir -p x509 psk && cd x509
    for who in ca server client; do certtool --generate-privkey --ecc --outfile $who-key.pem; done
    printf 'cn = test\\nca\\ncert_signing_key\\n' >ca.info
    printf 'cn = localhost\\ndns_name = localhost\\nip_address = 127.0.0.1\\ntls_www_server\\nsigning_key\\n' >server.info
    printf 'cn = client\\ntls_www_client\\nsigning_key\\n' >client.info
    certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem
    for who in server client; do
      certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem \\
        --load-privkey $who-key.pem --template $who.info --outfile $who-cert.pem
    done
    mkdir ../anonymous && cp ca-cert.pem ../anonymous
    psktool -u alice -p ../psk/keys.psk`;
  await run('mkdir', ['-p', dir]);
  await run('sh', ['-c', script], { cwd: dir });
  return { x509: join(dir, 'x509'), psk: join(dir, 'psk') };
}
