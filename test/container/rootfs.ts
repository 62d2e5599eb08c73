// SPDX-License-Identifier: Apache-2.0
// A container on a plain directory, without an image: what is needed to test bundles and runtimes alone.
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { containerPaths, type ContainerPaths, vzRoots } from '../../src/container/place/roots.js';
import { bundleConfig } from '../../src/container/runtime/bundle.js';
import { hostCgroups } from '../../src/container/runtime/cgroups.js';
import { chooseRuntime } from '../../src/container/runtime/choose.js';
import { deleteContainer, execArguments, type Runtime, runtimeFor, startContainer } from '../../src/container/runtime/driver.js';
import { type ContainerInit, detectInit } from '../../src/container/runtime/init.js';
import { run, type RunResult } from '../../src/exec/run.js';
import { nativeFile } from '../../src/native/binding.js';
import { makeBusyboxTemplate } from '../../src/template/busybox.js';

export interface DirectoryContainer {
  paths: ContainerPaths;
  rootfs: string;
  runtime: Runtime;
  start(): Promise<ContainerInit>;
  exec(...args: string[]): Promise<RunResult>;
  log(): Promise<string>;
}

/** `runtime`: runc or crun. Everything is gone afterwards, also when `work` fails. */
export async function withDirectoryContainer<T>(runtimeName: string, work: (container: DirectoryContainer) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'ploop-runtime-'));
  const rootfs = join(directory, 'rootfs');
  const cgroups = await hostCgroups();
  const program = await chooseRuntime(cgroups.mode, runtimeName);
  const paths = containerPaths('901', vzRoots({ vzRoot: join(directory, 'vz'), runDir: join(directory, 'run') }));
  const runtime = runtimeFor(paths, program, cgroups);
  try {
    await mkdir(rootfs);
    await run('tar', ['-xf', (await makeBusyboxTemplate(join(directory, 'busybox.tar'))).path, '-C', rootfs]);
    return await work({
      paths,
      rootfs,
      runtime,
      async start() {
        const init = await detectInit(rootfs);
        const hostname = 'inner.example.org';
        const params = { runtimeId: paths.runtimeId, rootfs, hostname, init };
        await startContainer(runtime, bundleConfig({ ...params, fallbackInit: nativeFile('ploop-init') }));
        return init;
      },
      async exec(...args) {
        const [file, words] = await execArguments(runtime, { tty: false, env: ['PATH=/bin:/sbin:/usr/bin'], args });
        return run(file, words, { accept: 'any' });
      },
      log: () => readFile(runtime.logFile, 'utf8'),
    });
  } finally {
    await deleteContainer(runtime).finally(() => rm(directory, { recursive: true, force: true }));
  }
}
