// Runs what needs no machine code under Miri, the interpreter that sees undefined behaviour: who owns what
// the runtime has pointers to, guest memory, and file systems in memory. `npm run miri`; not part of
// `npm test`, for it takes minutes and a toolchain of its own, which it gets where rustup is there.
//
// What Miri cannot cover, and who watches over it instead:
// - Machine code and what only it reaches: trampolines, unwinding, the walk of frames, and the words of the
//   stack that may be references. The tests play its part by the same pointers and libcalls.
// - Protection of pages, signals: pages are of the heap here (crates/engine/src/sys/unix/miri.rs), so an
//   access that would fault is an ordinary one; traps are explicit.
// - File systems of the host, sockets and Node-API: calls of the system and of V8.
// - Addresses that are in registers and words of wasm are numbers, so provenance is exposed, not strict.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const TOOLCHAIN = 'nightly';

/** The tests by package: what their names begin with. */
const TESTS = {
  'wasi-native-guest-memory': [],
  'wasi-native-wasi': ['fs::memory::'],
  'wasi-native-engine': ['runtime::'],
};

function run(command, args, options = {}) {
  return spawnSync(command, args, { stdio: 'inherit', ...options });
}

const isThere = run('cargo', [`+${TOOLCHAIN}`, 'miri', '--version'], { stdio: 'ignore' }).status === 0;
if (!isThere) {
  const install = ['toolchain', 'install', TOOLCHAIN, '--profile', 'minimal', '-c', 'miri', '-c', 'rust-src'];
  const { status, error } = run('rustup', install);
  if (status !== 0) {
    console.error(
      error?.code === 'ENOENT'
        ? 'npm run miri needs rustup (https://rustup.rs), or a nightly Rust with miri and rust-src'
        : `npm run miri needs a nightly Rust with miri and rust-src: \`rustup ${install.join(' ')}\` failed (see above)`,
    );
    process.exit(1);
  }
}

// Clocks and randomness of the host are nothing that the tests depend on.
const env = { ...process.env, MIRIFLAGS: `-Zmiri-disable-isolation ${process.env.MIRIFLAGS ?? ''}` };
for (const [name, tests] of Object.entries(TESTS)) {
  const args = [`+${TOOLCHAIN}`, 'miri', 'test', '--package', name, '--lib', '--', ...tests];
  const { status } = run('cargo', args, { env });
  if (status !== 0) process.exit(status ?? 1);
}
