'use strict';
// The stack of an error that came out of wasm.

const fs = require('node:fs');
const path = require('node:path');
const wn = require('..');
const { thrownBy, wat } = require('./helpers');

const fixture = (name) => fs.readFileSync(path.join(__dirname, 'fixtures', name));

/** The lines of the stack of what a function of a module throws, up to the JavaScript. */
function wasmLines(bytes, name) {
  const { exports } = new wn.Instance(new wn.Module(bytes));
  const lines = thrownBy(() => exports[name](0)).stack.split('\n');
  const end = lines.findIndex((line) => line.includes('__test__'));
  expect(end).toBeGreaterThan(0);
  return lines.slice(1, end);
}

test('has file, line and column where the module has debug information', () => {
  expect(wasmLines(fixture('inlined.wasm'), 'nested')).toEqual([
    '    at divide (/src/inlined.c:6:12)',
    '    at mean (/src/inlined.c:12:10)',
    '    at average (/src/inlined.c:18:10)',
    '    at outer (/src/inlined.c:22:10)',
    '    at nested (/src/inlined.c:26:10)',
  ]);
});

test('has the names of Rust as they were written', () => {
  const lines = wasmLines(fixture('shapes.wasm'), 'measure');
  expect(lines[0]).toMatch(/^ {4}at <shapes::Circle as shapes::Shape>::area \(\/src\/shapes\.rs:\d+:\d+\)$/);
  expect(lines.at(-1)).toMatch(/^ {4}at measure \(\/src\/shapes\.rs:\d+:\d+\)$/);
});

test('has demangled names without debug information, too', async () => {
  const text = '(module (func $_ZN5outer5innerEi (export "f") (param i32) unreachable))';
  const [line] = wasmLines(await wat(text), 'f');
  expect(line).toMatch(/^ {4}at outer::inner\(int\) \(wasm:\/\/wasm\/[0-9a-f]{8}:wasm-function\[0\]:0x[0-9a-f]+\)$/);
});

test('names the module: by a hash of its bytes, and by its name if it has one', async () => {
  const text = (number) => `(module (func (export "f") (param i32) (drop (i32.const ${number})) unreachable))`;
  const place = async (bytes) => wasmLines(bytes, 'f')[0].match(/^ {4}at wasm:\/\/wasm\/(.*):wasm-function\[0\]/)[1];
  const plain = Buffer.from(await wat(text(1)));
  expect(await place(plain)).toMatch(/^[0-9a-f]{8}$/);
  expect(await place(plain)).toBe(await place(plain));
  expect(await place(plain)).not.toBe(await place(await wat(text(2))));
  const named = (name) => {
    const custom = [4, ...Buffer.from('name'), 0, name.length + 1, name.length, ...Buffer.from(name)];
    return Buffer.concat([plain, Buffer.from([0, custom.length, ...custom])]);
  };
  expect(await place(named('shapes'))).toMatch(/^shapes-[0-9a-f]{8}$/);
});

test('cannot be made to look like other lines by the names of a module', async () => {
  const bytes = Buffer.from(await wat('(module (func $one@two (export "f") (param i32) unreachable))'));
  const name = bytes.indexOf('one@two');
  bytes[name + 3] = '\n'.charCodeAt(0);
  const lines = wasmLines(bytes, 'f');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('at one\u{fffd}two (');
});
