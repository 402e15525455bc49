// The main job of `npm start`: a real program that nobody here wrote, CRuby compiled to
// WebAssembly, runs examples/report.rb inside one directory.
//
//     node examples/ruby.mjs                 on wasi-native
//     node examples/ruby.mjs --engine=node   the same on this Node's own V8 and node:wasi
//
// The second one crashes on Node 20 and 22 unless node gets --no-turbo-fast-api-calls: their
// node:wasi is called in a way that hides JavaScript's frames from the garbage collector.

import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const here = fileURLToPath(new URL('.', import.meta.url));
const onNode = process.argv.includes('--engine=node');

// Both sides have the same two things: the WebAssembly namespace and a WASI class.
const { WASI } = onNode ? require('node:wasi') : require('..');
const wasm = onNode ? WebAssembly : require('..');
console.log(`engine    ${onNode ? `node:wasi on V8 ${process.versions.v8}` : 'wasi-native'}`);

// The guest gets this directory and nothing else. A link in it points outside, as an unpacked
// archive from a stranger might have one.
const work = join(here, 'out');
rmSync(work, { recursive: true, force: true });
mkdirSync(work);
for (const name of readdirSync(join(here, 'data'))) copyFileSync(join(here, 'data', name), join(work, name));
copyFileSync(join(here, 'report.rb'), join(work, 'report.rb'));
// Windows lets only some users make links; the rest of the example does not need it.
if (process.platform !== 'win32') symlinkSync('/etc/passwd', join(work, 'innocent.txt'));

const bytes = readFileSync(require.resolve('@ruby/3.4-wasm-wasi/dist/ruby+stdlib.wasm'));
const module = await timed(`compiled  ruby+stdlib.wasm, ${(bytes.length / 1e6).toFixed(1)} MB,`, () =>
  wasm.compile(bytes),
);

const ruby = await timed('started   CRuby', () => {
  const wasi = new WASI({ version: 'preview1', args: ['ruby'], env: {}, preopens: { '/work': work } });
  const instance = new wasm.Instance(module, { ...wasi.getImportObject(), ...bridge(module) });
  wasi.initialize(instance);
  return startRuby(instance.exports);
});

console.log('\n--- report.rb says');
const status = await timed('--- report.rb ran', () => ruby.evaluate("load '/work/report.rb'"));
if (status !== 0) {
  console.error(`report.rb failed with Ruby's status ${status}`);
  process.exit(1);
}
console.log(`\n${join(work, 'report.json')}:`);
console.log(readFileSync(join(work, 'report.json'), 'utf8'));

async function timed(what, action) {
  const start = performance.now();
  const result = await action();
  console.log(`${what} in ${(performance.now() - start).toFixed(0)} ms`);
  return result;
}

// This build of CRuby also imports a bridge to JavaScript objects, which the report does not use.
// Only the handles of Ruby's own values are needed, and a value's address serves as its handle.
function bridge(module) {
  const imports = {
    canonical_abi: {
      'resource_new_rb-abi-value': (value) => value,
      'resource_get_rb-abi-value': (handle) => handle,
      'resource_drop_js-abi-value': () => {},
    },
    'rb-js-abi-host': {},
  };
  for (const { module: from, name } of wasm.Module.imports(module)) {
    if (from !== 'rb-js-abi-host') continue;
    imports[from][name] = () => {
      throw new Error(`the script called ${name}, but there is no JavaScript bridge here`);
    };
  }
  return imports;
}

// Strings and lists cross by the canonical ABI: memory from cabi_realloc, address and length.
function startRuby(exports) {
  const initialize = exports['ruby-init: func(args: list<string>) -> ()'];
  const evaluate = exports['rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>'];

  // Any call may grow the memory and so detach the old buffer: make each view afresh.
  const view = () => new DataView(exports.memory.buffer);
  const string = (text) => {
    const utf8 = Buffer.from(text);
    const address = exports.cabi_realloc(0, 0, 1, utf8.length);
    new Uint8Array(exports.memory.buffer).set(utf8, address);
    return [address, utf8.length];
  };
  const list = (texts) => {
    const items = texts.map(string);
    const address = exports.cabi_realloc(0, 0, 4, items.length * 8);
    for (const [index, [at, length]] of items.entries()) {
      view().setInt32(address + index * 8, at, true);
      view().setInt32(address + index * 8 + 4, length, true);
    }
    return [address, items.length];
  };

  // CRuby takes these as C strings. Without `-e_=0` it would wait for a program on stdin.
  initialize(...list(['ruby\0', '-EUTF-8\0', '-e_=0\0']));
  return {
    // 0 when the code ended by itself; what it raised is told on stderr.
    evaluate(code) {
      const guarded = `begin; ${code}; rescue Exception => e; warn e.full_message; raise; end`;
      const result = evaluate(...string(guarded));
      return view().getInt32(result + 4, true);
    },
  };
}
