// Random sequences of WASI calls with random pointers, numbers and paths. A program may get any errno and any data of
// its own, but nothing from beside its directories, and nothing of theirs changes. Errors of ours are findings.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

import { Random } from './random.mjs';

const require = createRequire(import.meta.url);
const wn = require('..');

const SECRET = 'what no program may read';
const PIECES = [
  'a',
  'b',
  'dir',
  'link',
  'up',
  'absolute',
  'loop',
  '.',
  '..',
  '',
  '/',
  'secret',
  '../secret',
  '\0',
  'ä',
  'x'.repeat(300),
];

/** Where texts begin in the memory, and how long they are. */
const TEXTS = 32;
const TEXT = 512;

/** Offsets that are worth more than others. */
const pointer = (random) =>
  random.chance(1, 8) ? random.i32() : random.pick([0, 8, 16, 256, 65528, 65532, 65535]) + random.below(8);

function build(scratch) {
  const inside = path.join(scratch, 'inside');
  fs.rmSync(inside, { recursive: true, force: true });
  fs.mkdirSync(path.join(inside, 'dir', 'dir'), { recursive: true });
  fs.writeFileSync(path.join(inside, 'a'), 'text of a');
  fs.symlinkSync('dir', path.join(inside, 'link'));
  fs.symlinkSync('../secret', path.join(inside, 'up'));
  fs.symlinkSync(path.join(scratch, 'secret'), path.join(inside, 'absolute'));
  fs.symlinkSync('loop', path.join(inside, 'loop'));
  return inside;
}

export function start() {
  const scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-fuzz-')));
  fs.writeFileSync(path.join(scratch, 'secret'), SECRET);
  const outside = () => fs.readdirSync(scratch).sort().join();
  return {
    stop: () => fs.rmSync(scratch, { recursive: true, force: true }),
    run(seed) {
      const random = new Random(seed);
      const readOnly = random.chance(1, 4);
      const inside = build(scratch);
      const memory = new WebAssembly.Memory({ initial: 1 + random.below(2) });
      const wasi = new wn.WASI({
        version: 'preview1',
        args: ['one', 'two'],
        env: { A: 'b' },
        preopens: {
          '/': { path: inside, mode: readOnly ? 'ro' : 'rw' },
          '/mem': new wn.MemoryFS({ files: { 'dir/a': 'text' }, quota: 1 << 20 }),
        },
        stdin: { input: 'some input' },
        stdout: 'pipe',
        stderr: 'ignore',
        allow: ['*', 'wasi_native_ext.*'],
        // Nobody sleeps.
        now: 0,
        randomSeed: 1,
        limits: { output: 1 << 20 },
      });
      wasi.finalizeBindings({ exports: { memory } });
      const imports = wasi.getImportObject();
      const functions = Object.values(imports).flatMap((module) => Object.entries(module));
      const sizes = new Map(signatures());
      for (let left = 30 + random.below(40); left > 0; left--) {
        const bytes = Buffer.from(memory.buffer);
        for (let place = 0; place < TEXTS; place++) {
          const text = Array.from({ length: 1 + random.below(4) }, () => random.pick(PIECES)).join(
            random.pick(['/', '']),
          );
          bytes.write(text, 1024 + place * TEXT);
        }
        // Buffers, subscriptions, times.
        for (let at = 0; at < 1024; at += 4)
          bytes.writeInt32LE(random.chance(1, 2) ? 1024 + random.below(16384) : random.below(64), at);
        const [name, call] = random.pick(functions);
        const args = (sizes.get(name) ?? []).map((kind) => argument(random, kind));
        let result;
        try {
          result = call(...args);
        } catch (error) {
          // It has ended, as it may.
          if (name === 'proc_exit' || error?.code === 'ERR_WASI_LIMIT') break;
          throw new Error(`seed ${seed}: ${name}(${args})`, { cause: error });
        }
        if (!Number.isInteger(result) || result < 0 || result > 76) {
          throw new Error(`seed ${seed}: ${name}(${args}) returned ${result}`);
        }
        if (Buffer.from(memory.buffer).includes(SECRET))
          throw new Error(`seed ${seed}: ${name}(${args}) read the secret`);
      }
      wasi.close();
      const secret = fs.readFileSync(path.join(scratch, 'secret'), 'utf8');
      if (secret !== SECRET || outside() !== 'inside,secret')
        throw new Error(`seed ${seed}: something outside has changed`);
      if (readOnly && fs.readFileSync(path.join(inside, 'a'), 'utf8') !== 'text of a') {
        throw new Error(`seed ${seed}: a directory to read has changed`);
      }
    },
  };
}

function argument(random, kind) {
  if (kind === 'l') return random.i64();
  if (random.chance(1, 3)) return random.below(10);
  if (random.chance(1, 3)) return 1024 + random.below(TEXTS) * TEXT;
  return pointer(random);
}

/** Names and the letters of the parameters of all functions. */
function signatures() {
  const { native, realm } = require('../lib/native/binding');
  return native.wasiFunctions(realm).map(([, name, signature]) => [name, [...signature.split(':')[0]]]);
}
