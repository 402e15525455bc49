'use strict';
// Modules that are large in one direction: time must not grow with the square of it. Nothing is
// timed here; what takes quadratic time meets jest's own limit.

const wn = require('..');

const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id, ...parts) => {
  const contents = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([id, ...leb(contents.length)]), contents]);
};
const name = (text) => [...leb(text.length), ...Buffer.from(text)];
const many = (count, item) => Buffer.concat(Array.from({ length: count }, (_, k) => Buffer.from(item(k))));
const moduleOf = (...sections) => new wn.Module(Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), ...sections]));

const COUNT = 100_000;

test('100,000 imported functions', () => {
  const imports = section(2, leb(COUNT), many(COUNT, () => [...name('m'), ...name('f'), 0, 0]));
  const module = moduleOf(section(1, [1, 0x60, 0, 0]), imports, section(7, [1, ...name('f'), 0, ...leb(COUNT - 1)]));
  let calls = 0;
  const { exports } = new wn.Instance(module, { m: { f: () => calls++ } });
  exports.f();
  expect(calls).toBe(1);
});

test('100,000 WASI functions in a module with as many exports', () => {
  const imports = section(2, leb(COUNT), many(COUNT, () => [...name('wasi_snapshot_preview1'), ...name('sched_yield'), 0, 0]));
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
    section(1, [1, 0x60, 0, 1, 0x7f]), section(3, [1, 0]), section(7, [1, ...name('f'), 0, 0]), section(10, [1, 4, 0, 0x41, 7, 0x0b])
  );
  const given = Object.fromEntries(Array.from({ length: count }, (_, k) => [`f${k}`, new wn.Instance(one).exports.f]));
  const imports = section(2, leb(count), many(count, (k) => [...name('m'), ...name(`f${k}`), 0, 0]));
  const exports = section(7, [1, ...name('f'), 0, ...leb(count - 1)]);
  const module = moduleOf(section(1, [1, 0x60, 0, 1, 0x7f]), imports, exports);
  expect(new wn.Instance(module, { m: given }).exports.f()).toBe(7);
});
