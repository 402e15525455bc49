// Native modules: published addons, built for this machine, built for wasm on us, and the same on emnapi.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Table } from '../table.mjs';

const require = createRequire(import.meta.url);
const packages = fileURLToPath(new URL('../../scripts/packages/', import.meta.url));
const ROUNDS = 12;

/** The addon of a package: `[native, ours, emnapi]`, each when it is asked for. */
function sides(name, twin = name, binding = name) {
  const folder = join(packages, 'wasm/node_modules', `${binding}-wasm32-wasi`);
  const { files } = JSON.parse(readFileSync(join(folder, 'package.json')));
  const file = join(
    folder,
    files.find((each) => each.endsWith('.wasm')),
  );
  return {
    native: () => require(join(packages, 'native/node_modules', twin)),
    ours: () => require('../..').load(file),
    emnapi: () => require(folder),
  };
}

const small = Buffer.alloc(16, 1);
const large = Buffer.alloc(64 << 20, 3);
const text = Buffer.from('a text that can be made shorter, again and again. '.repeat(190_000));
const crc32 = sides('@node-rs/crc32');
const xxhash = sides('@node-rs/xxhash');
const argon2 = sides('@node-rs/argon2');
const jieba = sides('@node-rs/jieba');
const snappy = sides('snappy', 'snappy', '@napi-rs/snappy');

/** A name, what it is called, whose it is, a call, and how often it is made at a time. */
const ROWS = [
  ['crc32', 'crc32 of 16 bytes', crc32, (m) => m.crc32(small), 20_000],
  ['crc32-text', 'crc32 of 5 characters', crc32, (m) => m.crc32('hello'), 20_000],
  ['xxh32', 'xxh32 of 16 bytes', xxhash, (m) => m.xxh32(small, 0), 20_000],
  ['xxh64', 'xxh64 of 16 bytes', xxhash, (m) => m.xxh64(small, 0n), 20_000],
  ['xxh3', 'xxh3 of 64 MB', xxhash, (m) => m.xxh3.xxh64(large), 1],
  ['argon2', 'argon2 of a password', argon2, (m) => m.hashSync('password'), 1],
  [
    'jieba',
    'jieba cuts 14 characters',
    jieba,
    (m) => (m.own ??= new m.Jieba()).cut('我们中出了一个叛徒来到北京'),
    500,
  ],
  ['snappy', 'snappy of 9 MB', snappy, (m) => m.compressSync(text), 1],
];

export default {
  async run(wanted) {
    const table = new Table(
      'Native modules, one call',
      ['native', 'emnapi'],
      ['native: the build for this machine. emnapi: the build for wasm with its own loader, on this Node.'],
    );
    for (const [name, label, addon, call, count] of ROWS) {
      if (!wanted(name)) continue;
      const times = {};
      const problems = [];
      const modules = {};
      for (const side of ['ours', 'native', 'emnapi']) {
        try {
          modules[side] = { ...addon[side]() };
          call(modules[side]);
          times[side] = Infinity;
        } catch (error) {
          delete modules[side];
          problems.push(`${side}: ${error.message}`);
        }
      }
      for (let round = 0; round < ROUNDS; round++) {
        for (const [side, module] of Object.entries(modules)) {
          // emnapi's copies go when the event loop turns.
          await new Promise(setImmediate);
          const start = process.hrtime.bigint();
          for (let k = 0; k < count; k++) call(module);
          times[side] = Math.min(times[side], Number(process.hrtime.bigint() - start) / count);
        }
      }
      table.row(label, times, problems);
    }
    table.end();
  },
};
