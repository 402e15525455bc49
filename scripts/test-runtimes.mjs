// Runs the jest suite under every runtime: the Node that runs this, the other Nodes of
// scripts/runtimes, and Bun. Arguments: names of runtimes (`node-22`, `bun`) to run these alone, and
// anything else goes to jest: `node scripts/test-runtimes.mjs node-26 traps`.
//
// The runtimes are packages of their own folder, because npm would refuse to install them beside
// ours where they are for another platform, and because only tests want them.

import { execSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const FOLDER = 'scripts/runtimes';
const BUN = `@oven/bun-${process.platform}-${process.arch}`;
const NODES = [20, 22, 24, 26];
/** Say the same under every runtime, and take many seconds. */
const ONCE = ['types.test.js', 'ruby.test.js', 'glue-large.test.js'];

/** Milliseconds that a file of tests may take under Bun. */
const BUN_FILE = 180_000;

const given = process.argv.slice(2);
const isName = (argument) => /^(node-\d+|bun)$/.test(argument);
const wanted = given.filter(isName);
const toJest = given.filter((argument) => !isName(argument));

install();
const present = Number(process.versions.node.split('.', 1)[0]);
const runtimes = [
  [`node-${present}`, process.execPath, jest],
  ...NODES.filter((major) => major !== present).map((major) => {
    const name = `node-${major}`;
    return [name, path.resolve(FOLDER, 'node_modules', name, 'bin', 'node'), jest];
  }),
  ['bun', path.resolve(FOLDER, 'node_modules', BUN, 'bin', 'bun'), bunTest],
];

// The runtimes share what is compiled, as processes of one user do; nothing is of an earlier run.
process.env.WASI_NATIVE_CACHE_DIR = path.resolve('target', 'test-cache');
rmSync(process.env.WASI_NATIVE_CACHE_DIR, { recursive: true, force: true });

const failed = [];
let first = true;
for (const [name, binary, run] of runtimes) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  if (!existsSync(binary)) {
    const platform = `${process.platform}-${process.arch}`;
    console.log(`\n--- ${name}: not tested here, there is no package of it for ${platform}`);
    continue;
  }
  const version = spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout.trim();
  console.log(`\n--- ${name}: ${version}`);
  if (!run(binary, first)) failed.push(name);
  first = false;
}
if (failed.length > 0) {
  console.error(`\nThe suite failed under ${failed.join(', ')}.`);
  process.exit(1);
}

function install() {
  const lock = statSync(`${FOLDER}/package-lock.json`);
  const installed = statSync(`${FOLDER}/node_modules/.package-lock.json`, { throwIfNoEntry: false });
  if (!installed || installed.mtimeMs < lock.mtimeMs) {
    execSync('npm ci', { cwd: FOLDER, stdio: 'inherit' });
  }
}

function jest(node, first) {
  const ignored = first ? [] : ONCE.map((file) => `--testPathIgnorePatterns=${file}`);
  // Last, because it takes all words after it for patterns.
  const args = ['node_modules/jest/bin/jest.js', ...toJest, ...ignored];
  const { status } = spawnSync(node, args, { stdio: 'inherit' });
  return status === 0;
}

/**
 * Bun has a test runner that takes jest's tests. Each file has a process of its own. What is known
 * to be different stands in __test__/bun.json, with its reason, and must fail: so the list stays true.
 */
function bunTest(bun) {
  const differs = JSON.parse(readFileSync('__test__/bun.json', 'utf8'));
  const isTest = (file) => file.endsWith('.test.js') && !ONCE.includes(file);
  const files = readdirSync('__test__').filter(isTest);
  const chosen = files.filter((file) => toJest.length === 0 || toJest.some((part) => file.includes(part)));
  return chosen.map((file) => bunFile(bun, file, differs[file] ?? {})).every(Boolean);
}

function bunFile(bun, file, differs) {
  const args = ['test', '--timeout=60000', `./__test__/${file}`];
  const { stdout, stderr, status, signal } = spawnSync(bun, args, {
    encoding: 'utf8',
    timeout: BUN_FILE,
    killSignal: 'SIGKILL',
  });
  const results = [...stderr.matchAll(/^\((pass|fail)\) (.*?)( \[[\d.]+m?s\])?$/gm)];
  const failed = results.filter(([, result]) => result === 'fail').map(([, , name]) => name);
  const known = Object.keys(differs);
  const surprises = [
    ...failed.filter((name) => !known.includes(name)),
    ...known
      .filter((name) => !failed.includes(name))
      .map((name) => `${name} (is in __test__/bun.json, but does not fail)`),
  ];
  const complete = signal === null && /^Ran \d+ tests? across/m.test(stderr);
  if (complete && surprises.length === 0 && (status === 0 || failed.length > 0)) {
    const besides = known.length > 0 ? `; ${known.length} known to differ` : '';
    console.log(`PASS ${file} (${results.length - failed.length} tests${besides})`);
    return true;
  }
  console.log(`${stdout}${stderr}FAIL ${file} (${signal ?? status})\n  ${surprises.join('\n  ')}`);
  return false;
}
