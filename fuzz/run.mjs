// Runs the fuzzing targets: `npm run fuzz`, or `npm run fuzz -- api wasi` for some of them. Each case comes of its
// seed alone. WASI_NATIVE_FUZZ_SECONDS says how long each target runs (60), WASI_NATIVE_FUZZ_SEED from which seed on
// (by default the time).
//
// Each target runs in a process of its own: a crash is a finding, too, and the process says before each case which one
// it is.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TARGETS = ['bytes', 'wasi', 'api', 'smith'];

/** Compared with V8: with that of a new Node, which is nearer to the specifications. */
const WITH_V8 = ['bytes', 'api', 'smith'];

import { node26 } from '../benches/modules.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv.slice(2);
const unknown = given.find((name) => ![...TARGETS, 'wasmi'].includes(name));
if (unknown !== undefined) {
  console.error(`there is no target ${unknown}; the targets are ${[...TARGETS, 'wasmi'].join(', ')}`);
  process.exit(1);
}
const wanted = (name) => given.length === 0 || given.includes(name);
const seconds = process.env.WASI_NATIVE_FUZZ_SECONDS ?? '60';
const seed = process.env.WASI_NATIVE_FUZZ_SEED ?? `${Date.now() % 2 ** 31}`;
const env = { ...process.env, WASI_NATIVE_FUZZ_SECONDS: seconds, WASI_NATIVE_FUZZ_SEED: seed };

const failed = [];
const scratch = mkdtempSync(join(tmpdir(), 'wasi-native-fuzz-'));
try {
  for (const name of TARGETS.filter(wanted)) {
    const last = join(scratch, name);
    const words = ['--no-warnings', join(root, 'fuzz', 'target.mjs'), name, last];
    // A target ends by itself. One that does not hangs, which is a finding.
    const timeout = (Number(seconds) + 120) * 1000;
    const { status, signal } = spawnSync(WITH_V8.includes(name) ? node26() : process.execPath, words, {
      cwd: root,
      env,
      stdio: 'inherit',
      timeout,
    });
    if (status === 0) continue;
    const at = readFileSync(last, 'utf8').trim();
    const ended = signal === null ? `ended with ${status}` : `was ended by ${signal}`;
    console.error(
      `${name} ${ended}. Again: WASI_NATIVE_FUZZ_SEED=${at} WASI_NATIVE_FUZZ_SECONDS=0 npm run fuzz -- ${name}`,
    );
    failed.push(name);
  }
  if (wanted('wasmi')) {
    const words = [
      'test',
      '--release',
      '--workspace',
      '--test',
      'differential',
      '--',
      'fuzz',
      '--ignored',
      '--nocapture',
    ];
    if (spawnSync('cargo', words, { cwd: root, env, stdio: 'inherit' }).status !== 0) failed.push('wasmi');
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (failed.length > 0) {
  console.error(`found something: ${failed.join(', ')}`);
  process.exit(1);
}
