'use strict';
// Programs that use published addons as their READMEs show, run as they are: once with the addons' builds for this
// machine, once by `--import wasi-native/register` with their builds for wasm. Both print the same.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { promisify } = require('node:util');

const PACKAGE = path.join(__dirname, '..');
const PACKAGES = path.join(PACKAGE, 'scripts', 'packages');

/** What a package is imported by. */
const url = (name) => JSON.stringify(pathToFileURL(path.join(PACKAGES, 'native', 'node_modules', name)).href);

const PROJECT = {
  'src/index.js': `import { used } from './lib.ts';
    import data from './data.json';
    import('./lazy.js').then((lazy) => lazy.default());
    console.log(used(data.value));`,
  'src/lib.ts': 'export const used = (x: number) => x * 2; export const unused = () => "gone";',
  'src/data.json': '{ "value": 21, "other": 1 }',
  'src/lazy.js': 'export default () => console.log("lazy");',
  'src/broken.js': 'export const = 5;',
  'loader.cjs': `module.exports = function (source) {
    setTimeout(this.async(), 5, null, source.replace('lazy', 'LAZY'));
  };`,
};

const PROGRAMS = {
  rolldown: `
    import { rolldown } from ${url('rolldown/dist/index.mjs')};
    const seen = [];
    const plugin = {
      name: 'plugin',
      resolveId: (id) => (id === 'virtual' ? id : null),
      load: (id) => (id === 'virtual' ? 'export default 1' : null),
      async transform(code, id) {
        await new Promise(setImmediate);
        seen.push(id.slice(-8));
        return id.endsWith('lazy.js') ? { code: code.replace('lazy', 'LAZY'), map: null } : null;
      },
      renderChunk: (code) => '/* plugin */' + code,
    };
    const bundle = await rolldown({ input: 'src/index.js', plugins: [plugin], logLevel: 'silent' });
    const { output } = await bundle.generate({ sourcemap: true });
    for (const { fileName, code, source } of output) console.log(fileName, code ?? source);
    await bundle.write({ dir, minify: true });
    await bundle.close();
    console.log(seen.sort());
    for (const name of fs.readdirSync(dir).sort()) console.log(name, fs.readFileSync(dir + '/' + name, 'utf8'));
    const broken = await rolldown({ input: 'src/broken.js' });
    await broken.generate().catch((error) => console.log(error.message));
    await broken.close();`,

  'oxc-parser': `
    import { parse, parseSync, Visitor } from ${url('oxc-parser/src-js/index.js')};
    const source = '// c\\nimport a, { b as c } from "x"; export const d: Array<number> = [a, c, 1n, /r/g]; <T,>() => \`\${d}\`';
    const tell = (result) => console.log(JSON.stringify(
      [result.program, result.module, result.comments, result.errors],
      (key, value) => (typeof value === 'bigint' ? String(value) : value),
    ));
    tell(parseSync('a.ts', source));
    tell(await parse('a.ts', source, { range: true }));
    tell(parseSync('a.js', 'let = = 5'));
    const names = [];
    new Visitor({ Identifier: (node) => names.push(node.name) }).visit(parseSync('a.ts', source).program);
    console.log(names);
    const large = fs.readFileSync(${JSON.stringify(require.resolve('typescript/lib/lib.dom.d.ts'))}, 'utf8');
    const { program, comments } = await parse('lib.dom.d.ts', large);
    console.log(program.body.length, program.end, comments.length);`,

  'oxc-transform': `
    import { isolatedDeclaration, isolatedDeclarationSync, transform, transformSync } from ${url('oxc-transform/index.js')};
    const source = 'class A<T> { x: number = 1; constructor(private y: string) {} }\\nexport const j = <div>{new A<string>("")}</div>';
    console.log(transformSync('a.tsx', source, { sourcemap: true, target: 'es2015' }));
    console.log(await transform('a.tsx', source, { jsx: { runtime: 'classic' } }));
    console.log(transformSync('a.ts', 'const = 1').errors);
    const declared = 'export function f(a: number): string { return "" } export const g = f;';
    console.log(isolatedDeclarationSync('a.ts', declared, { sourcemap: true }));
    console.log(await isolatedDeclaration('a.ts', declared));`,

  'oxc-resolver': `
    import { ResolverFactory } from ${url('oxc-resolver/index.js')};
    const resolver = new ResolverFactory({ extensions: ['.js', '.ts'], alias: { lib: [process.cwd() + '/src/lib'] } });
    const from = process.cwd() + '/src';
    for (const name of ['./index', './lib', './data.json', './none', 'lib']) {
      console.log(name, resolver.sync(from, name), await resolver.async(from, name));
    }`,

  tar: `
    import tar from ${url('@napi-rs/tar/index.js')};
    const { Archive, Builder } = tar;
    const builder = new Builder();
    builder.appendData('hello.txt', Buffer.from('Hello, world!'));
    // The crate tar panics for files and folders on wasm: their times and rights are not implemented.
    builder.appendData('src/index.js', fs.readFileSync('./src/index.js'));
    const bytes = Buffer.from(builder.finish());
    const list = (archive) => {
      for (const entry of archive.entries()) {
        console.log(entry.path(), entry.header().size(), String(entry.asBytes()).slice(0, 40));
      }
    };
    list(new Archive(bytes));
    const file = new Builder(dir + '/own.tar');
    file.appendData('readme.txt', Buffer.from('Archive contents'));
    console.log(file.finish());
    list(new Archive(dir + '/own.tar'));
    new Archive(bytes).unpack(dir + '/unpacked');
    console.log(fs.readdirSync(dir + '/unpacked', { recursive: true }).sort());
    console.log(fs.readFileSync(dir + '/unpacked/hello.txt', 'utf8'));
    try {
      new Archive('./none.tar');
    } catch (error) {
      console.log(error.constructor.name, error.code);
    }`,

  image: `
    import image from ${url('@napi-rs/image/index.js')};
    const { Transformer, compressJpegSync, losslessCompressPng, pngQuantizeSync } = image;
    const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex') + ' ' + bytes.length;
    const pixels = Buffer.alloc(64 * 48 * 4).map((_, place) => (place * 7) % 256);
    const png = Transformer.fromRgbaPixels(pixels, 64, 48).pngSync();
    console.log(digest(png), await new Transformer(png).metadata());
    const jpeg = new Transformer(png).jpegSync(80);
    console.log(digest(jpeg), digest(compressJpegSync(jpeg)));
    console.log(digest(await losslessCompressPng(png)), digest(pngQuantizeSync(png)));
    console.log(digest(new Transformer(png).resize(20).grayscale().rotate().pngSync()));
    console.log(digest(await new Transformer(png).webpLossless()), digest(new Transformer(jpeg).bmpSync()));
    const [head] = [(await new Transformer(png).avif()).subarray(4, 12)];
    console.log(String(head));
    for (const wrong of [Buffer.from('nonsense'), png.subarray(0, 60), Buffer.alloc(0)]) {
      try {
        new Transformer(wrong).pngSync();
      } catch (error) {
        console.log(error.constructor.name, error.message);
      }
      await new Transformer(wrong).png().catch((error) => console.log(error.constructor.name, error.message));
    }`,

  rspack: `
    import { rspack } from ${url('@rspack/core/dist/index.js')};
    const compiler = rspack({
      mode: 'production',
      entry: './src/index.js',
      devtool: 'source-map',
      output: { path: dir },
      resolve: { extensions: ['.ts', '.js'] },
      module: {
        rules: [
          { test: /\\.ts$/, loader: 'builtin:swc-loader', options: { jsc: { parser: { syntax: 'typescript' } } } },
          { test: /lazy/, use: [process.cwd() + '/loader.cjs'] },
        ],
      },
      plugins: [
        new rspack.DefinePlugin({ 'data.other': '2' }),
        (compiler) => compiler.hooks.compilation.tap('plugin', (compilation) => {
          compilation.hooks.processAssets.tap('plugin', (assets) => console.log(Object.keys(assets).sort()));
        }),
      ],
    });
    const stats = await promisify(compiler.run.bind(compiler))();
    console.log(stats.hasErrors(), stats.toJson({ all: false, assets: true }).assets.map(({ name, size }) => [name, size]));
    for (const name of fs.readdirSync(dir).sort()) console.log(name, fs.readFileSync(dir + '/' + name, 'utf8'));
    await promisify(compiler.close.bind(compiler))();
    const broken = rspack({ entry: './src/broken.js', mode: 'development', output: { path: dir } });
    console.log((await promisify(broken.run.bind(broken))()).toJson({ all: false, errors: true }).errors.length);
    await promisify(broken.close.bind(broken))();`,

  zen: `
    import zen from ${url('@gorules/zen-engine/index.js')};
    const { ZenEngine, evaluateExpression, evaluateExpressionSync, evaluateUnaryExpressionSync, renderTemplate } = zen;
    console.log(evaluateExpressionSync('a + b * 2', { a: 1, b: 4 }), evaluateUnaryExpressionSync('> 5', { $: 7 }));
    console.log(await evaluateExpression('sum(map(xs, # * 2))', { xs: [1, 2, 3] }), await renderTemplate('{{ a }} b', { a: 5 }));
    const nodes = [
      { id: 'in', type: 'inputNode' },
      { id: 'sum', type: 'expressionNode', content: { expressions: [{ id: '1', key: 'twice', value: 'input * 2' }] } },
      { id: 'js', type: 'functionNode', content: { source: \`
        import dayjs from 'dayjs';
        export const handler = async (input) => ({ ...input, year: dayjs('2024-01-01').format('YYYY') });\` } },
      { id: 'own', type: 'customNode', content: { kind: 'mine', config: { k: 5 } } },
      { id: 'out', type: 'outputNode' },
    ].map((node) => ({ name: node.id, position: { x: 0, y: 0 }, ...node }));
    const edges = nodes.slice(1).map(({ id }, place) => ({ id: 'e' + place, type: 'edge', sourceId: nodes[place].id, targetId: id }));
    const asked = [];
    const engine = new ZenEngine({
      loader: async (key) => {
        asked.push(key);
        if (key !== 'graph.json') throw new Error('nothing of that name');
        return Buffer.from(JSON.stringify({ nodes, edges }));
      },
      customHandler: async ({ node, input }) => ({ output: { config: node.config, input } }),
    });
    console.log(JSON.stringify((await engine.evaluate('graph.json', { input: 15 })).result), asked);
    const decision = engine.createDecision({ nodes, edges });
    const many = await Promise.all(Array.from({ length: 50 }, (_, input) => decision.evaluate({ input })));
    console.log(many.map(({ result }) => result.input.twice).join());
    await engine.evaluate('none', {}).catch((error) => console.log(/nothing of that name/.test(error.message)));
    try {
      evaluateExpressionSync('a +', {});
    } catch (error) {
      console.log(error.message);
    }`,

  'wasm-tools': `
    import tools from ${url('@napi-rs/wasm-tools/index.js')};
    const { ModuleConfig, WasmModule } = tools;
    const file = ${JSON.stringify(path.join(PACKAGES, 'wasm/node_modules/@node-rs/crc32-wasm32-wasi/crc32.wasm32-wasi.wasm'))};
    const bytes = fs.readFileSync(file);
    for (const module of [WasmModule.fromBuffer(bytes), WasmModule.fromPath(file)]) {
      const names = [...Array(module.exports.length).keys()];
      console.log(module.imports.length, module.exports.length, names.length, typeof module.functions);
    }
    const emitted = new ModuleConfig().generateNameSection(true).parse(bytes).emitWasm(true);
    console.log(emitted.length, WebAssembly.Module.exports(new WebAssembly.Module(emitted)).map(({ name }) => name));
    for (const failing of [() => WasmModule.fromBuffer(Buffer.from('no')), () => WasmModule.fromPath('/none.wasm')]) {
      try {
        failing();
      } catch (error) {
        console.log(error.constructor.name, error.code, error.message.split(' (os error')[0]);
      }
    }`,

  davey: `
    import davey from ${url('@snazzah/davey/index.js')};
    const { DAVESession, generateDisplayableCode, generateKeyFingerprint, generateP256Keypair, generatePairwiseFingerprint } = davey;
    const pair = generateP256Keypair();
    const [own, other] = ['158049329150427136', '158049329150427137'];
    console.log(pair.private.length, pair.public.length, pair.public[0]);
    const session = new DAVESession(1, own, '927310423890473011', pair);
    console.log(session.status, session.ready, session.epoch, session.getSerializedKeyPackage().length > 100, String(session));
    console.log(generateDisplayableCode(Buffer.from('0123456789abcdefghijklmnopqrstuv'), 30, 5));
    console.log(generateKeyFingerprint(0, Buffer.alloc(65, 4), own).toString('hex'));
    const pairwise = [1, 2, 3].map(() => generatePairwiseFingerprint(0, Buffer.alloc(65, 4), own, Buffer.alloc(65, 5), other));
    console.log((await Promise.all(pairwise)).map((bytes) => bytes.toString('hex')));
    for (const failing of [
      () => session.setExternalSender(Buffer.from('x')),
      () => session.processWelcome(Buffer.alloc(3)),
      () => session.processCommit(Buffer.alloc(3)),
      () => session.encryptOpus(Buffer.alloc(10)),
      () => new DAVESession(1, 'x', 'y'),
    ]) {
      try {
        failing();
      } catch (error) {
        console.log(error.constructor.name, error.code, error.message);
      }
    }
    await session.getVerificationCode(other).catch((error) => console.log(error.message));`,
};

let directory;

beforeAll(() => {
  // Without links on the way, which the resolvers would follow.
  directory = fs.realpathSync(fs.mkdtempSync(path.join(tmpdir(), 'programs-')));
  fs.mkdirSync(path.join(directory, 'src'));
  for (const [name, text] of Object.entries(PROJECT)) fs.writeFileSync(path.join(directory, name), text);
  const grants = { preopens: { [directory]: { path: '.', mode: 'rw' } }, env: { PWD: directory } };
  // The C library of wasm looks at each folder above one whose real path it is asked for.
  const all = { preopens: { '/': { path: '/', mode: 'rw' } } };
  const manifest = {
    name: 'programs',
    type: 'module',
    'wasi-native': {
      '@rolldown/binding-wasm32-wasi': grants,
      '@oxc-resolver/binding-wasm32-wasi': grants,
      '@napi-rs/tar-wasm32-wasi': all,
      '@napi-rs/wasm-tools-wasm32-wasi': all,
      '@rspack/binding-wasm32-wasi': grants,
    },
  };
  fs.writeFileSync(path.join(directory, 'package.json'), JSON.stringify(manifest));
  const head = `
    import crypto from 'node:crypto';
    import fs from 'node:fs';
    import { promisify } from 'node:util';
    const dir = process.env.OUTPUT;`;
  for (const [name, text] of Object.entries(PROGRAMS)) {
    fs.writeFileSync(path.join(directory, `${name}.mjs`), head + text);
  }
  fs.writeFileSync(path.join(directory, 'without-native.cjs'), WITHOUT_NATIVE);
  fs.writeFileSync(
    path.join(directory, 'worker.mjs'),
    `import { Worker } from 'node:worker_threads';
     new Worker(new URL(process.argv[2], import.meta.url));`,
  );
});

/** For loaders that ask for the build for wasm only where the one for the machine is not installed. */
const WITHOUT_NATIVE = `
  const Module = require('node:module');
  const { _resolveFilename: resolve } = Module;
  Module._resolveFilename = (name, ...others) => resolve(/-(gnu|musl|msvc|darwin-\\w+)$/.test(name) ? './none' : name, ...others);
`;

afterAll(() => fs.rmSync(directory, { recursive: true }));

/** What a program prints, with the addons of one side. */
async function run(side, ...program) {
  const wasm = ['-r', './without-native.cjs', '--import', path.join(PACKAGE, 'register', 'index.js')];
  const flags = side === 'wasm' ? wasm : [];
  const output = fs.mkdtempSync(path.join(directory, 'output-'));
  const env = { ...process.env, NO_COLOR: '1', RUST_BACKTRACE: '0', OUTPUT: output };
  if (side === 'wasm') {
    env.NODE_PATH = path.join(PACKAGES, 'wasm', 'node_modules');
    env.NAPI_RS_FORCE_WASI = 'error';
  }
  const options = { cwd: directory, env, timeout: 120_000, killSignal: 'SIGKILL', maxBuffer: 1 << 26 };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...flags, ...program], options);
  fs.rmSync(output, { recursive: true });
  return { stdout: stdout.replaceAll(output, 'output'), stderr };
}

test.each(Object.keys(PROGRAMS))('%s', async (name) => {
  const twin = await run('native', `${name}.mjs`);
  expect(twin.stderr).toBe('');
  expect(twin.stdout).not.toBe('');
  expect(await run('wasm', `${name}.mjs`)).toEqual(twin);
});

test.each(['rolldown', 'oxc-parser', 'image', 'rspack', 'zen'])('%s in a Worker', async (name) => {
  const twin = await run('native', `${name}.mjs`);
  expect(await run('wasm', 'worker.mjs', `./${name}.mjs`)).toEqual(twin);
});
