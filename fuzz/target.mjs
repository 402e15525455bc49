// One target in this process: `node fuzz/target.mjs NAME FILE`. The file has the seed of the case under way.

import { openSync, writeSync } from 'node:fs';

const [name, file] = process.argv.slice(2);
const { start } = await import(`./${name}.mjs`);
const first = Number(process.env.WASI_NATIVE_FUZZ_SEED);
const end = performance.now() + Number(process.env.WASI_NATIVE_FUZZ_SECONDS) * 1000;
const last = openSync(file, 'w');

const { run, stop } = await start(first);
let cases = 0;
try {
  do {
    const seed = first + cases++;
    writeSync(last, `${seed}`.padEnd(16), 0);
    await run(seed);
  } while (performance.now() < end);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await stop?.();
}
console.log(`${name}: ${cases} cases`);
