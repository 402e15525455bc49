'use strict';
// Published addons, built for wasm, beside their builds for this machine: the same results, from what their
// READMEs show. Both are in folders of their own (scripts/packages).

const path = require('node:path');
const { once } = require('node:events');
const { Worker } = require('node:worker_threads');
const { load } = require('..');

const PACKAGES = path.join(__dirname, '..', 'scripts', 'packages');
const native = (name) => require(path.join(PACKAGES, 'native', 'node_modules', name));
const file = (name) => {
  const folder = path.join(PACKAGES, 'wasm', 'node_modules', `${name}-wasm32-wasi`);
  return path.join(
    folder,
    require(path.join(folder, 'package.json')).files.find((each) => /\.wasm$/.test(each)),
  );
};
const guest = (name, options) => load(file(name), options);

const BYTES = [
  Buffer.alloc(0),
  Buffer.from('hello'),
  Buffer.from('a view of a pool').subarray(2, 9),
  new Uint8Array(100_003).map((_, index) => index * 7),
];

test('@node-rs/crc32', () => {
  const [twin, own] = [native('@node-rs/crc32'), guest('@node-rs/crc32')];
  for (const bytes of [...BYTES, 'text', 'té\u4f60']) {
    expect(own.crc32(bytes)).toBe(twin.crc32(bytes));
    expect(own.crc32c(bytes)).toBe(twin.crc32c(bytes));
    expect(own.crc32(bytes, 12345)).toBe(twin.crc32(bytes, 12345));
  }
});

test('@node-rs/xxhash', () => {
  const [twin, own] = [native('@node-rs/xxhash'), guest('@node-rs/xxhash')];
  for (const bytes of [...BYTES, 'text']) {
    expect(own.xxh32(bytes, 0)).toBe(twin.xxh32(bytes, 0));
    expect(own.xxh64(bytes, 7n)).toBe(twin.xxh64(bytes, 7n));
    expect(own.xxh3.xxh64(bytes)).toBe(twin.xxh3.xxh64(bytes));
    expect(own.xxh3.xxh128(bytes, 5n)).toBe(twin.xxh3.xxh128(bytes, 5n));
  }
  const digest = (m) => new m.Xxh64(3n).update('one').update(Buffer.from('two')).digest();
  expect(digest(own)).toBe(digest(twin));
  expect(() => own.xxh32({})).toThrow();
});

test('@node-rs/bcrypt', () => {
  const [twin, own] = [native('@node-rs/bcrypt'), guest('@node-rs/bcrypt')];
  expect(twin.verifySync('password', own.hashSync('password', 4))).toBe(true);
  expect(own.verifySync('password', twin.hashSync('password', 4))).toBe(true);
  expect(own.verifySync('other', twin.hashSync('password', 4))).toBe(false);
});

test('@node-rs/argon2', () => {
  const [twin, own] = [native('@node-rs/argon2'), guest('@node-rs/argon2')];
  const options = { salt: Buffer.alloc(16, 7), memoryCost: 1024 };
  expect(own.hashSync('password', options)).toBe(twin.hashSync('password', options));
  expect(own.verifySync(twin.hashSync('password'), 'password')).toBe(true);
  expect(own.hashRawSync('p', options)).toEqual(twin.hashRawSync('p', options));
});

test('@node-rs/jieba', () => {
  const [twin, own] = [native('@node-rs/jieba'), guest('@node-rs/jieba')];
  const text = '我们中出了一个叛徒，来到北京清华大学';
  const { dict } = require(path.join(PACKAGES, 'native', 'node_modules', '@node-rs', 'jieba', 'dict.js'));
  const both = [twin, own].map((m) => {
    const jieba = m.Jieba.withDict(dict);
    return [jieba.cut(text), jieba.cut(text, false), jieba.cutForSearch(text), jieba.tag(text)];
  });
  expect(both[1]).toEqual(both[0]);
});

test('asynchronous calls of @node-rs/bcrypt, argon2 and jieba', async () => {
  const [bcrypt, argon2] = [guest('@node-rs/bcrypt'), guest('@node-rs/argon2')];
  const twins = [native('@node-rs/bcrypt'), native('@node-rs/argon2')];
  expect(await twins[0].verify('password', await bcrypt.hash('password', 4))).toBe(true);
  const options = { salt: Buffer.alloc(16, 7), memoryCost: 1024 };
  expect(await argon2.hash('password', options)).toBe(await twins[1].hash('password', options));
  const many = await Promise.all(Array.from({ length: 8 }, () => bcrypt.hash('p', 4)));
  expect(many.every((hash) => twins[0].verifySync('p', hash))).toBe(true);
  await expect(argon2.verify('no hash', 'password')).rejects.toThrow();
});

test('@napi-rs/snappy, sync and async', async () => {
  const [twin, own] = [native('snappy'), guest('@napi-rs/snappy')];
  const bytes = Buffer.from('a text that is repeated. '.repeat(10_000));
  expect(own.compressSync(bytes)).toEqual(twin.compressSync(bytes));
  expect(own.uncompressSync(twin.compressSync(bytes))).toEqual(bytes);
  expect(await own.uncompress(await own.compress(bytes))).toEqual(bytes);
});

test('promises that nobody can settle any more fail when a module is closed', async () => {
  for (const [name, start] of [
    ['@napi-rs/snappy', (m) => m.compress(Buffer.alloc(1 << 20))],
    ['@node-rs/bcrypt', (m) => m.hash('password', 12)],
  ]) {
    const own = guest(name);
    const started = Promise.allSettled(Array.from({ length: 8 }, () => start(own)));
    own.close();
    const codes = (await started).map(({ reason }) => reason?.code);
    expect(codes).toEqual(Array(8).fill('ERR_WASI_CLOSED'));
  }
});

test('@napi-rs/lzma', async () => {
  const [twin, own] = [native('@napi-rs/lzma/xz'), guest('@napi-rs/lzma').xz];
  const bytes = Buffer.from('a text that is repeated. '.repeat(1000));
  expect(await own.decompress(await twin.compress(bytes))).toEqual(bytes);
  expect(await twin.decompress(await own.compress(bytes))).toEqual(bytes);
});

test('@oxc-resolver finds files where it may look, and nowhere else', async () => {
  const root = path.join(__dirname, '..');
  const own = guest('@oxc-resolver/binding', { preopens: { '/': '/' } });
  const resolver = new own.ResolverFactory({});
  expect(resolver.sync(root, './index.js').path).toBe(path.join(root, 'index.js'));
  expect((await resolver.async(root, './index.js')).path).toBe(path.join(root, 'index.js'));
  const blind = guest('@oxc-resolver/binding');
  expect(new blind.ResolverFactory({}).sync(root, './index.js').error).toMatch(/Cannot find module/);
});

test('@tailwindcss/oxide', () => {
  const content = [{ content: '<div class="flex p-4 hover:m-2">', extension: 'html' }];
  const scan = (m) => new m.Scanner({}).scanFiles(content).sort();
  expect(scan(guest('@tailwindcss/oxide'))).toEqual(scan(native('@tailwindcss/oxide')));
});

test('a published addon in Workers, and many rounds of it', async () => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { load } = require(workerData.package);
    const m = load(workerData.file);
    parentPort.postMessage(m.crc32(Buffer.from('hello')));`;
  for (let round = 0; round < 10; round++) {
    const workerData = { package: path.join(__dirname, '..'), file: file('@node-rs/crc32') };
    const worker = new Worker(code, { eval: true, workerData });
    const [[answer]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    expect(answer).toBe(0x3610a686);
  }
});

test('200 calls with 32 MB of bytes need no more memory than a few', () => {
  const own = guest('@node-rs/crc32');
  const bytes = Buffer.alloc(32 << 20, 1);
  for (let i = 0; i < 5; i++) own.crc32(bytes);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 60; i++) own.crc32(bytes);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
  own.close();
});
