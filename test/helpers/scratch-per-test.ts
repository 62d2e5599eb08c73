// SPDX-License-Identifier: Apache-2.0
// The beginning of most tests of images: a scratch directory of its own for each, which goes with the test.
import { mkdir } from 'node:fs/promises';

import { afterEach, beforeEach } from 'vitest';

import { makeScratch, type Places, type Scratch } from './scratch.js';

export interface TestPlaces extends Places {
  /** Where the test may make an image: nothing is there yet. */
  readonly image: string;
  /** An empty directory. */
  readonly mountPoint: string;
}

/**
 * For the tests of the file, or of the describe() that it is called in; `begin` is done before each, with the places there:
 *
 *     let dir: string;
 *     const scratch = scratchPerTest((places) => void ({ image: dir } = places));
 */
export function scratchPerTest(begin: (places: TestPlaces) => unknown = () => undefined): TestPlaces {
  let scratch: Scratch;
  const places: TestPlaces = {
    get directory() {
      return scratch.directory;
    },
    get runDir() {
      return scratch.runDir;
    },
    get image() {
      return scratch.path('image');
    },
    get mountPoint() {
      return scratch.path('mnt');
    },
    path: (name) => scratch.path(name),
  };
  beforeEach(async () => {
    scratch = await makeScratch();
    await mkdir(places.mountPoint);
    await begin(places);
  });
  afterEach(() => scratch.clean());
  return places;
}
