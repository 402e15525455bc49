'use strict';
// Modules that are large in one direction: time must not grow with the square of it. Nothing is
// timed here; what takes quadratic time meets jest's own limit.

const wn = require('..');
const { child } = require('./helpers');

const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id, ...parts) => {
  const contents = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([id, ...leb(contents.length)]), contents]);
};
const name = (text) => [...leb(text.length), ...Buffer.from(text)];
const many = (count, item) => Buffer.concat(Array.from({ length: count }, (_, k) => Buffer.from(item(k))));
const moduleOf = (...sections) =>
  new wn.Module(Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), ...sections]));

const COUNT = 100_000;

test('100,000 imported functions', () => {
  const imports = section(
    2,
    leb(COUNT),
    many(COUNT, () => [...name('m'), ...name('f'), 0, 0]),
  );
  const module = moduleOf(
    section(1, [1, 0x60, 0, 0]),
    imports,
    section(7, [1, ...name('f'), 0, ...leb(COUNT - 1)]),
  );
  let calls = 0;
  const { exports } = new wn.Instance(module, { m: { f: () => calls++ } });
  exports.f();
  expect(calls).toBe(1);
});

test('100,000 WASI functions in a module with as many exports', () => {
  const imports = section(
    2,
    leb(COUNT),
    many(COUNT, () => [...name('wasi_snapshot_preview1'), ...name('sched_yield'), 0, 0]),
  );
  const exports = [many(COUNT, (k) => [...name(`f${k}`), 0, ...leb(k)]), [...name('memory'), 2, 0]];
  const types = section(1, [1, 0x60, 0, 1, 0x7f]);
  const module = moduleOf(types, imports, section(5, [1, 0, 1]), section(7, leb(COUNT + 1), ...exports));
  const wasi = new wn.WASI({ version: 'preview1' });
  const instance = new wn.Instance(module, wasi.getImportObject());
  wasi.initialize(instance);
  expect(instance.exports[`f${COUNT - 1}`]()).toBe(0);
});

test('5,000 imported functions of wasm, each of an instance of its own', () => {
  const count = 5000;
  const one = moduleOf(
    section(1, [1, 0x60, 0, 1, 0x7f]),
    section(3, [1, 0]),
    section(7, [1, ...name('f'), 0, 0]),
    section(10, [1, 4, 0, 0x41, 7, 0x0b]),
  );
  const given = Object.fromEntries(
    Array.from({ length: count }, (_, k) => [`f${k}`, new wn.Instance(one).exports.f]),
  );
  const imports = section(
    2,
    leb(count),
    many(count, (k) => [...name('m'), ...name(`f${k}`), 0, 0]),
  );
  const exports = section(7, [1, ...name('f'), 0, ...leb(count - 1)]);
  const module = moduleOf(section(1, [1, 0x60, 0, 1, 0x7f]), imports, exports);
  expect(new wn.Instance(module, { m: given }).exports.f()).toBe(7);
});

test.each(['one after the other', 'all at once'])('modules with thousands of typed references, %s', (how) => {
  // Functions of types that no other module has, which return null for a reference to such a function.
  const code = `
    const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
    const signed = (n) => (n < 64 ? [n] : [(n & 127) | 128, ...signed(n >>> 7)]);
    const many = (count, item) => [...leb(count), ...Array.from({ length: count }, (_, k) => item(k)).flat()];
    const section = (id, contents) => [id, ...leb(contents.length), ...contents];
    const name = (text) => [text.length, ...Buffer.from(text)];
    const digits = (n) => Array.from({ length: 16 }, (_, bit) => ((n >> bit) & 1 ? 0x7e : 0x7f));
    const count = 1200;
    const module = (first) => new wn.Module(Uint8Array.from([
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
      ...section(1, many(2 * count, (k) =>
        k < count ? [0x60, 16, ...digits(first + k), 1, 0x7c] : [0x60, 0, 1, 0x63, ...signed(k - count)])),
      ...section(3, many(count, (k) => leb(count + k))),
      ...section(7, many(count, (k) => [...name('f' + k), 0, ...leb(k)])),
      ...section(10, many(count, (k) => [3 + signed(k).length, 0, 0xd0, ...signed(k), 0x0b])),
    ]));
    const kept = [];
    for (let round = 0; round < 8; round++) {
      const { exports } = new wn.Instance(module(round * count));
      if (${how === 'all at once'}) kept.push(exports);
      for (const k of [0, count - 1]) if (exports['f' + k]() !== null) process.exit(1);
      for (let k = 0; k < 3; k++) {
        await new Promise(setImmediate);
        gc();
      }
    }
    for (const exports of kept) if (exports['f' + (count - 1)]() !== null) process.exit(1);`;
  const { status, stderr } = child(code, { flags: ['--expose-gc'] });
  expect(stderr).toBe('');
  expect(status).toBe(0);
});
