'use strict';
// Programs over packages from npm and their own glue code: `node glue.js PACKAGE` prints what came
// out as JSON. The tests run each with V8's WebAssembly and with ours in its place, and compare.

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

const file = (name) => fs.readFileSync(require.resolve(name));
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const hash = (bytes) => `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
const messageOf = (run) => {
  try {
    return run();
  } catch (error) {
    return `${error.message ?? error}`;
  }
};
/** Of a trap engines have different messages. */
const nameOf = (run) => {
  try {
    return run();
  } catch (error) {
    return error.name;
  }
};

const PROGRAMS = {
  // Glue by hand, i64 arguments and results.
  async 'xxhash-wasm'() {
    const { create64, h32, h64, h32ToString } = await require('xxhash-wasm')();
    const stream = create64().update('a').update(Buffer.from('bc'));
    return [h32('abc'), h64('abc', 5n), stream.digest(), h32ToString('x'.repeat(100000))];
  },

  // Rust without a glue generator: callbacks from wasm, memory looked at after it grew.
  async 'source-map'() {
    const { SourceMapConsumer, SourceMapGenerator } = require('source-map');
    const generator = new SourceMapGenerator({ file: 'out.js' });
    for (let line = 1; line < 5000; line++) {
      const original = { line, column: line % 7 };
      const generated = { line: 2 * line, column: 3 };
      generator.addMapping({ source: 'in.js', original, generated, name: `n${line % 5}` });
    }
    return SourceMapConsumer.with(generator.toString(), null, (consumer) => {
      const mappings = [];
      consumer.eachMapping(({ generatedLine, name }) => mappings.push(generatedLine, name));
      return [mappings, consumer.originalPositionFor({ line: 20, column: 4 })];
    });
  },

  // wasm-bindgen: externrefs or its heap of objects, exceptions from imports, classes.
  async 'brotli-wasm'() {
    const brotli = require('brotli-wasm');
    const text = Buffer.from('hello brotli '.repeat(10000));
    const compressed = brotli.compress(text, { quality: 9 });
    const stream = new brotli.CompressStream();
    const part = stream.compress(text, 100);
    return [
      hex(compressed),
      Buffer.from(brotli.decompress(compressed)).equals(text),
      messageOf(() => brotli.decompress(Buffer.from('junk'))),
      nameOf(() => brotli.compress(text, { quality: 'high' })),
      [part.code, hex(part.buf)],
    ];
  },

  // Many small modules, compiled in parallel.
  async 'hash-wasm'() {
    const hash = require('hash-wasm');
    const salt = new Uint8Array(16);
    const argon2 = { parallelism: 1, iterations: 3, memorySize: 256, hashLength: 16 };
    return Promise.all([
      hash.md5('a'),
      hash.sha256('a'),
      hash.blake3('a'),
      hash.crc32('a'),
      hash.sha3('abc'),
      hash.argon2id({ password: 'p', salt, ...argon2, outputType: 'hex' }),
      hash.bcrypt({ password: 'p', salt, costFactor: 4 }),
    ]);
  },

  // Emscripten with embind: classes, callbacks, invokers made with `new Function`.
  async 'yoga-wasm-web'() {
    const { default: load } = await import('yoga-wasm-web');
    const yoga = await load(file('yoga-wasm-web/dist/yoga.wasm'));
    const root = yoga.Node.create();
    root.setFlexDirection(yoga.FLEX_DIRECTION_ROW);
    root.setWidth(300);
    for (let index = 0; index < 3; index++) {
      const child = yoga.Node.create();
      child.setFlexGrow(index + 1);
      child.setMargin(yoga.EDGE_ALL, index);
      if (index === 2) child.setMeasureFunc((width) => ({ width: width / 2, height: 7 }));
      root.insertChild(child, index);
    }
    root.calculateLayout(300, 100, yoga.DIRECTION_LTR);
    return [0, 1, 2].map((index) => root.getChild(index).getComputedLayout());
  },

  // Emscripten with a module in the script.
  async 'libsodium-wrappers'() {
    const sodium = require('libsodium-wrappers');
    await sodium.ready;
    const key = new Uint8Array(32).fill(7);
    const nonce = new Uint8Array(24).fill(1);
    const box = sodium.crypto_secretbox_easy('message', nonce, key);
    const { privateKey } = sodium.crypto_sign_seed_keypair(key);
    return [
      hex(box),
      sodium.to_string(sodium.crypto_secretbox_open_easy(box, nonce, key)),
      messageOf(() => sodium.crypto_secretbox_open_easy(new Uint8Array(20), nonce, key)),
      hex(sodium.crypto_sign_detached('message', privateKey)),
      sodium.randombytes_buf(8).length,
    ];
  },

  // Emscripten, large, with exceptions of C++ by way of JavaScript.
  async wabt() {
    const wabt = await require('wabt')();
    const text = '(module (func (export "f") (result i32) i32.const 3))';
    return [
      hex(wabt.parseWat('a.wat', text, {}).toBinary({}).buffer),
      messageOf(() => wabt.parseWat('a.wat', '(module (func', {})),
    ];
  },

  // Emscripten's dynamic linking: a second module over one memory and table, which grow.
  async 'web-tree-sitter'() {
    const { Parser, Language, Query } = require('web-tree-sitter');
    await Parser.init();
    const module = require.resolve('tree-sitter-javascript/tree-sitter-javascript.wasm');
    const language = await Language.load(module);
    const parser = new Parser();
    parser.setLanguage(language);
    const { rootNode } = parser.parse('const f = (x) => `a${x}b` + /re/g;\nclass A { #p = 1 }');
    const captures = new Query(language, '(identifier) @id').captures(rootNode);
    // The parser calls back for its input, piece by piece.
    const broken = parser.parse((index) => (index < 3 ? 'a(('[index] : null)).rootNode;
    return [`${rootNode}`, captures.map(({ node }) => node.text), broken.hasError, `${broken}`];
  },

  // Glue over the WASI of Node, which it imports by name.
  async '@ruby/prism'() {
    const { loadPrism } = await import('@ruby/prism');
    const parse = await loadPrism();
    const tree = parse('class A\n  # how\n  def f(x) = "a#{x + 1}"\nend\n');
    const broken = parse('def (');
    return [tree.value, tree.comments, broken.errors.map(({ message }) => message)];
  },

  // wasm-bindgen in a Worker: the module is compiled here, posted, and tested by `instanceof` there.
  async '@jsquash/png'() {
    const wasm = file('@jsquash/png/codec/pkg/squoosh_png_bg.wasm');
    const module = new WebAssembly.Module(wasm);
    const worker = new Worker(__filename, { argv: ['@jsquash/png'] });
    worker.postMessage({ module, modules: [module] });
    const [answer] = await once(worker, 'message');
    await worker.terminate();
    return answer;
  },

  // Emscripten's threads and dynamic linking: a shared memory and four modules in every Worker.
  async 'wasm-vips'() {
    const dynamicLibraries = ['vips-jxl.wasm', 'vips-heif.wasm', 'vips-resvg.wasm'];
    const vips = await require('wasm-vips')({ dynamicLibraries });
    const black = vips.Image.black(64, 48, { bands: 3 });
    const image = black.add([10, 200, 30]).cast('uchar').gaussblur(2);
    const formats = ['.png', '.jpg', '.webp', '.jxl', '.avif'];
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle r="15"/></svg>';
    return [
      formats.map((format) => hash(image.writeToBuffer(format))),
      formats.map((format) => vips.Image.newFromBuffer(image.writeToBuffer(format)).avg()),
      hash(vips.Image.svgloadBuffer(svg).writeToMemory()),
      messageOf(() => vips.Image.newFromBuffer('nonsense')),
    ];
  },
};

/** The same, but large: they run under one runtime alone. */
const LARGE = {
  // Recursion of a parser, with JavaScript between the calls of wasm that may throw.
  async solc() {
    const depth = 200;
    const parentheses = `${'('.repeat(depth)}x${')'.repeat(depth)}`;
    const ifs = `${'if (x > 1) { x--; '.repeat(depth)}x = 7;${'}'.repeat(depth)}`;
    const content = `pragma solidity ^0.8.0;
      contract C {
        function f(uint x) public pure returns (uint) { return ${parentheses}; }
        function g(uint x) public pure returns (uint) { ${ifs} return x; }
      }`;
    const settings = { outputSelection: { '*': { '*': ['evm.bytecode.object'] } } };
    const input = { language: 'Solidity', sources: { 'C.sol': { content } }, settings };
    return JSON.parse(require('solc').compile(JSON.stringify(input)));
  },

  // Recursion of an interpreter, with JavaScript between the calls of wasm that may throw.
  async '@electric-sql/pglite'() {
    const { PGlite } = require('@electric-sql/pglite');
    const database = await PGlite.create();
    await database.exec(`
      create function f(n int) returns int language plpgsql as $$
      begin
        if n = 0 then return 0; end if;
        return 1 + f(n - 1);
      end $$;
      create function g(n int) returns int language plpgsql as $$
      begin
        if n = 0 then raise exception 'at the bottom'; end if;
        return 1 + g(n - 1);
      end $$`);
    const { rows } = await database.query('select f(10) as a, f(300) as b, version()');
    const error = await database.query('select g(200)').catch(({ message }) => message);
    await database.close();
    return [rows, error];
  },
};

/** What a Worker of the program does with what it is posted. */
const WORKERS = {
  async '@jsquash/png'({ module, modules }) {
    const { decode, encode, initSync } = await import('@jsquash/png/codec/pkg/squoosh_png.js');
    initSync(module);
    const pixels = new Uint8Array(16 * 16 * 4).map((_, index) => index);
    const image = encode(pixels, 16, 16, 8);
    const same = modules[0] === module;
    return [module instanceof WebAssembly.Module, same, hash(image), hash(decode(image).data)];
  },
};

async function main(name) {
  if (name === 'nothing') return;
  const big = (_, value) => (typeof value === 'bigint' ? `${value}n` : value);
  console.log(JSON.stringify(await { ...PROGRAMS, ...LARGE }[name](), big));
}

if (!isMainThread) {
  parentPort.once('message', async (posted) => {
    parentPort.postMessage(await WORKERS[process.argv[2]](posted));
  });
} else if (require.main === module) {
  main(process.argv[2]).then(() => process.exit(0));
}

// Threads of Emscripten never start on Bun's own engine, so there is nothing to compare with.
if (process.versions.bun) delete PROGRAMS['wasm-vips'];

module.exports = { packages: Object.keys(PROGRAMS), large: Object.keys(LARGE) };
