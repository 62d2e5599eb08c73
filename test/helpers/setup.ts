// SPDX-License-Identifier: Apache-2.0
// Runs in every test worker. Workers die by SIGTERM; an orderly exit keeps exit hooks and gcov data of the addon.
process.on('SIGTERM', () => process.exit(143));
