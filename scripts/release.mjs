// Builds the addon as it is published: `npm run release -- linux-x64-gnu`, or several, or none for all.
//
// It is optimised as a whole (the cargo profile `dist`), linked by zig against an old C library, so that it
// runs on old systems too, and stripped: what debuggers want lies beside it. Needs rustup's target, and
// python3 with pip, which fetches zig and cargo-zigbuild.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

import { fromPyPI } from '../benches/modules.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The oldest C library of GNU that the addons for it run on: that of CentOS 7. */
const GLIBC = '2.17';

export const TARGETS = {
  'linux-x64-gnu': { triple: 'x86_64-unknown-linux-gnu', os: 'linux', cpu: 'x64', libc: 'glibc' },
  'linux-x64-musl': { triple: 'x86_64-unknown-linux-musl', os: 'linux', cpu: 'x64', libc: 'musl' },
  'linux-arm64-gnu': { triple: 'aarch64-unknown-linux-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  'linux-arm64-musl': { triple: 'aarch64-unknown-linux-musl', os: 'linux', cpu: 'arm64', libc: 'musl' },
};

/** Limits that a released addon is checked against, in bytes. */
const LARGEST = { file: 10e6, compressed: 3.5e6 };

const folder = (platform) => join(root, 'target', 'released', platform);

/** Where the addon of a platform is when it has been built. */
export const built = (platform) => join(folder(platform), `wasi-native.${platform}.node`);

function release(platform) {
  const { triple, libc } = TARGETS[platform];
  const zig = fromPyPI('ziglang==0.15.2', 'ziglang/zig');
  const zigbuild = fromPyPI('cargo-zigbuild==0.24.1', 'bin/cargo-zigbuild');
  const versioned = libc === 'glibc' ? `${triple}.${GLIBC}` : triple;
  // A shared library for musl is linked against the C library of its system.
  const flags = libc === 'musl' ? '-C target-feature=-crt-static' : '';
  const env = { ...process.env, CARGO_ZIGBUILD_ZIG_PATH: zig, RUSTFLAGS: flags, CARGO_INCREMENTAL: '0' };
  execFileSync(zigbuild, ['zigbuild', '--profile', 'dist', '--target', versioned], {
    cwd: root,
    stdio: 'inherit',
    env,
  });

  const library = join(root, 'target', triple, 'dist', 'libwasi_native.so');
  const addon = built(platform);
  mkdirSync(folder(platform), { recursive: true });
  objcopy('--only-keep-debug', library, `${addon}.debug`);
  objcopy('--strip-all', `--add-gnu-debuglink=${addon}.debug`, library, addon);
  check(platform, addon);
}

/** LLVM's objcopy, which comes with Rust and knows all platforms. */
function objcopy(...words) {
  const ask = (...questions) => execFileSync('rustc', questions, { encoding: 'utf8' });
  const [, host] = /^host: (.*)$/m.exec(ask('-vV'));
  const libraries = join(ask('--print', 'sysroot').trim(), 'lib');
  const command = join(libraries, 'rustlib', host, 'bin', 'rust-objcopy');
  execFileSync(command, words, { stdio: 'inherit', env: { ...process.env, LD_LIBRARY_PATH: libraries } });
}

/** Refuses an addon that is too large, or needs a newer C library than it is for. */
function check(platform, addon) {
  const bytes = readFileSync(addon);
  const sizes = { file: bytes.length, compressed: gzipSync(bytes, { level: 9 }).length };
  const needed = [...new Set(bytes.toString('latin1').match(/GLIBC_2\.\d+(?:\.\d+)?/g) ?? [])];
  const newest = needed.sort((a, b) => compare(a, b)).at(-1);
  const shown = Object.entries(sizes).map(([name, size]) => `${name} ${(size / 1e6).toFixed(2)} MB`);
  console.log(
    `${platform}: ${shown.join(', ')}; ${newest ?? 'no symbol of glibc'}; debug symbols in ${addon}.debug`,
  );
  for (const [name, size] of Object.entries(sizes)) {
    if (size > LARGEST[name])
      throw new Error(`${platform}: ${name} ${size} bytes; ${LARGEST[name]} are allowed`);
  }
  if (newest !== undefined && compare(newest, `GLIBC_${GLIBC}`) > 0) {
    throw new Error(`${platform}: it needs ${newest}; ${GLIBC} is allowed`);
  }
  if (!bytes.includes('napi_register_module_v1'))
    throw new Error(`${platform}: it exports nothing that Node finds`);
}

function compare(a, b) {
  const numbers = (text) => text.replace('GLIBC_', '').split('.').map(Number);
  const [one, other] = [numbers(a), numbers(b)];
  return one.map((each, k) => each - (other[k] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => TARGETS[name] === undefined);
  if (unknown !== undefined) {
    console.error(`there is no platform ${unknown}; the platforms are ${Object.keys(TARGETS).join(', ')}`);
    process.exit(1);
  }
  for (const platform of wanted.length > 0 ? wanted : Object.keys(TARGETS)) release(platform);
}
