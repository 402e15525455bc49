// What the scripts that run the package for other systems have in common: test-arm64.mjs and test-windows.mjs.

import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** What Node is given, and what it prints then. */
const PROGRAMS = {
  hello: [['examples/hello/hello.mjs'], /it ended with 0/],
  library: [['examples/library/library.mjs'], /^ship-native-code/],
  addon: [
    ['--print', `require('.').load('examples/addon-c/addon.wasm').distance('kitten', 'sitting')`],
    /^3$/m,
  ],
  sandbox: [['examples/sandbox/sandbox.mjs'], /ERR_WASI_TIMEOUT/],
  cruby: [['examples/ruby.mjs'], /refused: list \/home[^]*report\.rb ran/],
};

const wanted = process.argv.slice(2);
const failed = [];
const known = new Set();

/** Whether a test or program was named, or none was. */
export function isWanted(name) {
  known.add(name);
  return wanted.length === 0 || wanted.includes(name);
}

/** Whether any program is to run: an addon is needed then. */
export const areProgramsWanted = () => Object.keys(PROGRAMS).some(isWanted);

/** Notes what has failed. */
export const fail = (name) => void failed.push(name);

/**
 * Runs the programs with an addon that was built here, which is put where such an addon is looked for:
 * `run(words)` gives `{status, printed}`. Then `more` runs, with the addon in place.
 */
export function runPrograms(built, name, run, more = () => {}) {
  const addon = join(root, name);
  copyFileSync(built, addon);
  try {
    for (const [program, [words, expected]] of Object.entries(PROGRAMS)) {
      if (!isWanted(program)) continue;
      const { status, printed } = run(words);
      const isGood = status === 0 && expected.test(printed);
      if (!isGood) fail(program);
      console.log(isGood ? `ok    ${program}` : `FAIL  ${program}: ${status}\n${printed}`);
    }
    more();
  } finally {
    rmSync(addon);
  }
}

/** Ends the process, with 1 if anything has failed, or if what was named is nothing. Paths are no names. */
export function finish() {
  for (const name of wanted) if (!known.has(name) && !/[/.]/.test(name)) fail(`there is no ${name}`);
  if (failed.length === 0) return;
  console.error(`what failed: ${failed.join(', ')}`);
  process.exit(1);
}
