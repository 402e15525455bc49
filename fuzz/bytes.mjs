// Compiles any bytes: small modules, damaged. What we say of them must fit together, and modules that V8 takes we take.

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { Random } from './random.mjs';

const require = createRequire(import.meta.url);
const wn = require('..');

const SEEDS = [
  `(module (import "a" "f" (func $f (param i32) (result i64))) (memory 1 4) (table 4 funcref)
     (global $g (mut i32) (i32.const 5)) (elem (i32.const 1) $f $h) (data (i32.const 8) "some data")
     (func $h (export "h") (param i32) (result i64) (local f64 i32)
       (block $out (loop $again (br_if $out (i32.eqz (local.get 0)))
         (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br $again)))
       (i64.add (call $f (i32.load offset=4 (local.get 0))) (call_indirect (param i32) (result i64)
         (local.get 2) (i32.const 1)))))`,
  `(module (memory 1) (func (export "v") (param v128 v128) (result v128)
     (i8x16.swizzle (i32x4.add (local.get 0) (local.get 1)) (v128.load (i32.const 16))))
     (func (result i32 i64) (i32.const 1) (i64.const 2))
     (func (param externref) (result externref) (local.get 0)))`,
  `(module (tag $t (param i32)) (func (export "t") (try (do (throw $t (i32.const 1))) (catch $t (drop)) (catch_all)))
     (func (memory.copy (i32.const 0) (i32.const 1) (i32.const 2)) (memory.fill (i32.const 0) (i32.const 1) (i32.const 2)))
     (memory 1) (start 1))`,
];

function damaged(random, modules) {
  let bytes = [...random.pick(modules)];
  for (let left = 1 + random.below(6); left > 0; left--) {
    const at = random.below(bytes.length + 1);
    switch (random.below(6)) {
      case 0:
        bytes[at] = random.below(256);
        break;
      case 1:
        bytes.splice(at, random.below(8));
        break;
      case 2:
        bytes.splice(at, 0, ...random.bytes(random.below(8)));
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4: {
        const other = random.pick(modules);
        const from = random.below(other.length);
        bytes.splice(at, random.below(16), ...other.subarray(from, from + random.below(64)));
        break;
      }
      default:
        bytes[at] ^= 1 << random.below(8);
    }
    if (bytes.length === 0) bytes.push(0);
  }
  const sound = bytes.map((byte) => byte ?? 0);
  return Uint8Array.from(
    random.chance(1, 50) ? [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...random.bytes(40)] : sound,
  );
}

export async function start() {
  const wabt = await require('wabt')();
  const features = {
    exceptions: true,
    simd: true,
    reference_types: true,
    bulk_memory: true,
    multi_value: true,
  };
  const modules = SEEDS.map((text) => wabt.parseWat('seed.wat', text, features).toBinary({}).buffer);
  const fixtures = fileURLToPath(new URL('../__test__/fixtures/', import.meta.url));
  for (const name of readdirSync(fixtures).filter((each) => each.endsWith('.wasm'))) {
    const bytes = readFileSync(fixtures + name);
    if (bytes.length < 20_000) modules.push(bytes);
  }
  return {
    run(seed) {
      const bytes = damaged(new Random(seed), modules);
      const isValid = wn.validate(bytes);
      let error;
      try {
        const module = new wn.Module(bytes);
        wn.Module.exports(module);
        wn.Module.imports(module);
      } catch (caught) {
        error = caught;
      }
      if (error !== undefined && (!(error instanceof wn.CompileError) || /internal/.test(error.message))) {
        throw new Error(`seed ${seed}: it is no CompileError`, { cause: error });
      }
      if (isValid !== (error === undefined)) {
        throw new Error(`seed ${seed}: validate() says ${isValid}, and compiling another thing`, {
          cause: error,
        });
      }
      if (isValid || !WebAssembly.validate(bytes)) return;
      // What V8 has and we have not.
      if (
        /gc|stack switching|custom descriptors|shared-everything|limit|too (large|many)|implementation/i.test(
          error.message,
        )
      )
        return;
      throw new Error(`seed ${seed}: V8 takes it: ${Buffer.from(bytes).toString('hex')}`, { cause: error });
    },
  };
}
