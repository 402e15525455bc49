// A program with one argument and one directory: `node examples/hello/hello.mjs`.
//
// hello.wasm is hello.c: zig cc -target wasm32-wasi -Os -s hello.c -o hello.wasm

import { WASI } from 'wasi-native';

const here = (name) => new URL(name, import.meta.url);

const wasi = new WASI({
  version: 'preview1',
  args: ['hello', 'wasm'],
  preopens: { '/notes': { path: here('.'), mode: 'ro' } },
});
const { code } = await wasi.run(here('hello.wasm'));
console.log(`it ended with ${code}`);
