// Part of `npm version 0.2.0`, which sets the version in package.json and makes a commit and a tag: Cargo's files say the
// same. All else takes it from these two: the packages, `wasi-native --version`, the addon and the key of its cache.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const text = readFileSync('Cargo.toml', 'utf8');
const place = /(?<=^\[workspace\.package\]\nversion = ")[^"]*/m;
if (!place.test(text)) throw new Error('Cargo.toml: no version in [workspace.package]');
writeFileSync('Cargo.toml', text.replace(place, version));
execFileSync('cargo', ['update', '--workspace', '--offline', '--quiet'], { stdio: 'inherit' });
execFileSync('git', ['add', 'Cargo.toml', 'Cargo.lock'], { stdio: 'inherit' });
