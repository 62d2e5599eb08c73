// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { generatedDocuments, staleDocuments } from '../../bin/docs.mjs';
import { renderCommandTable, renderManPage, replaceSection } from '../../src/cli/manual.js';
import { programOf } from './harness.js';

const program = programOf({
  name: 'make',
  aliases: ['init'],
  summary: 'make a thing|s',
  description: '.starts with a dot and has a back\\slash',
  arguments: [{ name: 'dir', summary: 'where', required: true }],
  options: [{ flags: '--fs <type>', summary: 'what', choices: ['ext4', 'xfs'], default: 'ext4' }],
  examples: [['prog make d', 'makes d']],
  run: () => Promise.resolve(),
});

describe('generated documents', () => {
  it('are what the tables say (npm run docs writes them)', () => {
    expect(staleDocuments()).toEqual([]);
  });

  it('are manual pages that groff accepts without a warning', (test) => {
    const probe = spawnSync('groff', ['--version']);
    if (probe.error) test.skip('groff is not installed');
    for (const [path, text] of generatedDocuments()) {
      if (!path.endsWith('.8')) continue;
      const done = spawnSync('groff', ['-man', '-ww', '-z', '-Tutf8'], { input: text, encoding: 'utf8' });
      expect(done.stderr, path).toBe('');
    }
  });
});

describe('a manual page', () => {
  it('escapes what roff would take for a command', () => {
    const page = renderManPage(program, '1.0');
    expect(page).toContain('\n\\&.starts with a dot and has a back\\eslash.\n');
    expect(page).toContain('.B \\-\\-fs <type>\nwhat (one of ext4, xfs; default "ext4")');
  });
});

describe('a command table', () => {
  it('has one row per command with its aliases', () => {
    expect(renderCommandTable(program)).toContain('| `prog make <dir> [options]` | make a thing\\|s (also `init`) |');
  });
});

describe('replaceSection', () => {
  it('exchanges what stands between the marks and nothing else', () => {
    expect(replaceSection('a\n<!-- x -->\nold\n<!-- /x -->\nb', 'x', 'new')).toBe('a\n<!-- x -->\nnew\n<!-- /x -->\nb');
  });

  it('refuses a text without the marks', () => {
    expect(() => replaceSection('a', 'x', 'new')).toThrow('<!-- x -->');
  });
});
