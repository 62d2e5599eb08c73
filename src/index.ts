// SPDX-License-Identifier: Apache-2.0
// The public surface of the library: re-exports only.
export * from './errors.js';
export { formatSize, MAX_SIZE_BYTES, parseSize } from './units.js';
