// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';

import { checkCtid, compareCtids } from '../../src/container/place/ctid.js';
import { containerPaths, vzRoots } from '../../src/container/place/roots.js';

describe('checkCtid', () => {
  it.each(['1', '101', 'web', 'web-1.example', 'a'.repeat(63), '7f3a_x'])('takes %s', (ctid) => {
    expect(checkCtid(ctid)).toBe(ctid);
  });

  it.each([
    ['', 'it is empty'],
    ['0', '0 is the host'],
    ['007', 'does not begin with 0'],
    ['a/b', 'it has "/" in it'],
    ['..', 'it begins with "."'],
    ['-a', 'it begins with "-"'],
    ['a b', 'it has " " in it'],
    ['a\nb', 'it has "\\n" in it'],
    ['ä', 'it begins with "ä"'],
    ['a'.repeat(64), 'it is 64 characters long'],
  ])('refuses %j and says why', (ctid, why) => {
    expect(() => checkCtid(ctid)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(why) as string }),
    );
  });
});

it('sorts numbers by value before names', () => {
  expect(['web', '1000', '99', 'app', '101'].sort(compareCtids)).toEqual(['99', '101', '1000', 'app', 'web']);
});

describe('places', () => {
  it("are OpenVZ's own by default", () => {
    const paths = containerPaths('101', vzRoots({ vzRoot: '', runDir: '/run/ploop' }));
    expect(paths).toMatchObject({
      imageDir: '/vz/private/101/root.hdd',
      mountPoint: '/vz/root/101',
      confFile: '/etc/vz/conf/101.conf',
      runtimeId: '101',
      bundleDir: '/run/ploop/vz/bundle/101',
    });
    expect(paths.roots.cacheDir).toBe('/vz/template/cache');
  });

  it('are all below one directory when that is given, and meet no others in the runtime', () => {
    const [one, other] = ['/srv/a', '/srv/b'].map((vzRoot) => containerPaths('101', vzRoots({ vzRoot, runDir: '/run/ploop' })));
    expect(one?.imageDir).toBe('/srv/a/private/101/root.hdd');
    expect(one?.confFile).toBe('/srv/a/conf/101.conf');
    expect(one?.runtimeId).toMatch(/^101\.[0-9a-f]{8}$/);
    expect(one?.runtimeId).not.toBe(other?.runtimeId);
  });
});
