// SPDX-License-Identifier: Apache-2.0
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseConfig, readConfig, writeConfig } from '../../src/container/place/config.js';
import { requireContainer } from '../../src/container/place/locate.js';

const TEXT = `# Made by hand
ONBOOT="yes"

HOSTNAME=plain.example.org  # the name
OSTEMPLATE='debian-12'
DESCRIPTION="a \\"quoted\\" \\$word"
UNKNOWN_KEY="kept"
ONBOOT="no"
`;

describe('parseConfig', () => {
  it('reads bare, single and double quoted values; the last line of a key counts', () => {
    expect(parseConfig(TEXT, 'x').entries()).toEqual({
      ONBOOT: 'no',
      HOSTNAME: 'plain.example.org',
      OSTEMPLATE: 'debian-12',
      DESCRIPTION: 'a "quoted" $word',
      UNKNOWN_KEY: 'kept',
    });
  });

  it('keeps comments, unknown keys and order when a value changes', () => {
    const config = parseConfig(TEXT, 'x');
    config.set('HOSTNAME', 'new');
    config.set('DISKSPACE', '1:1');
    expect(config.toString()).toBe(TEXT.replace('HOSTNAME=plain.example.org  # the name', 'HOSTNAME="new"') + 'DISKSPACE="1:1"\n');
  });

  it('removes the last line of a key, and changes others in their places afterwards', () => {
    const config = parseConfig('A="1"\n# one\nB="2"\nC="3"\n', 'x.conf');
    config.delete('B');
    config.delete('missing');
    config.set('C', '4');
    config.set('B', '5');
    expect(config.toString()).toBe('A="1"\n# one\nC="4"\nB="5"\n');
  });

  it('reads back what it writes', () => {
    const config = parseConfig('', 'x');
    const value = 'a "b" $c `d` \\e #f \'g\'';
    config.set('DESCRIPTION', value);
    expect(parseConfig(config.toString(), 'x').get('DESCRIPTION')).toBe(value);
  });

  it.each(['no setting', 'A="open', 'B="x" y', "C='x"])('names file and line of %j', (line) => {
    expect(() => parseConfig(`# fine\n${line}\n`, '/etc/vz/conf/1.conf')).toThrow(/^\/etc\/vz\/conf\/1\.conf:2: /);
  });

  it('refuses to write a value with a line break', () => {
    expect(() => parseConfig('', 'x').set('DESCRIPTION', 'a\nB="c"')).toThrow('DESCRIPTION: a value must not contain control characters');
  });
});

describe('on disk', () => {
  let directory: string;
  beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), 'ploop-conf-'))));
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('is null when there is no file, and leaves no temporary file behind', async () => {
    const path = join(directory, '101.conf');
    expect(await readConfig(path)).toBeNull();
    const config = parseConfig('', path);
    config.set('A', 'b');
    await writeConfig(path, config);
    expect(await readFile(path, 'utf8')).toBe('A="b"\n');
    expect(await readdir(directory)).toEqual(['101.conf']);
  });

  it('lets VE_ROOT and VE_PRIVATE move places, with $VEID in them', async () => {
    const options = { vzRoot: directory, runDir: join(directory, 'run') };
    await expect(requireContainer('101', options)).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
    await mkdir(join(directory, 'conf'));
    await writeFile(join(directory, 'conf/101.conf'), 'VE_ROOT="/mnt/$VEID"\nVE_PRIVATE="/data/${VEID}/"\n');
    const { paths } = await requireContainer('101', options);
    expect(paths.mountPoint).toBe('/mnt/101');
    expect(paths.imageDir).toBe('/data/101/root.hdd');
    await writeFile(join(directory, 'conf/101.conf'), 'VE_ROOT="relative"\n');
    await expect(requireContainer('101', options)).rejects.toThrow('VE_ROOT="relative" is not an absolute path');
  });
});
