'use strict';
// Host values that wasm holds: found wherever wasm may have them while it runs, and let go when it has
// them no more.

const { child, wat } = require('./helpers');

const wn = require('..');

/** The text of `count` parts. */
const times = (count, part) => Array.from({ length: count }, (_, k) => part(k)).join(' ');

const MANY = 20;

const holders = `(module
  (import "m" "make" (func $make (param i32) (result externref)))
  (import "m" "see" (func $see (param i32 externref)))
  (import "m" "nest" (func $again (param i32)))
  (import "m" "throws" (func $throws (param i32)))
  (import "m" "js" (tag $js (param externref)))
  (import "m" "given" (global $given externref))
  (tag $tag (param i32 externref))
  (table $table 10 externref)
  (table $thrown 1 exnref)
  (global $global (mut externref) (ref.null extern))
  (elem $segment externref (global.get $given))

  ;; Makes so many values and drops them.
  (func $churn (export "churn") (param $count i32)
    (loop $next
      (drop (call $make (local.get $count)))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))

  (func (export "local") (local $a externref)
    (local.set $a (call $make (i32.const 7)))
    (call $churn (i32.const 10000))
    (call $see (i32.const 7) (local.get $a)))

  ;; Each value lives through eight iterations, in registers as far as there are some.
  (func (export "loop") (param $count i32) (local $i i32) ${times(9, (k) => `(local $v${k} externref)`)}
    (local.set $i (i32.const -8))
    (loop $next
      (if (i32.ge_s (local.get $i) (i32.const 0)) (then (call $see (local.get $i) (local.get $v0))))
      ${times(8, (k) => `(local.set $v${k} (local.get $v${k + 1}))`)}
      (local.set $v7 (call $make (i32.add (local.get $i) (i32.const 8))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_s (local.get $i) (local.get $count)))))

  ;; Frames of wasm and of JavaScript in turn, each with a value.
  (func (export "nest") (param $depth i32) (local $a externref)
    (local.set $a (call $make (local.get $depth)))
    (if (local.get $depth)
      (then (call $again (i32.sub (local.get $depth) (i32.const 1))))
      (else (call $churn (i32.const 20000))))
    (call $see (local.get $depth) (local.get $a)))

  (func (export "pass") (param $a externref) (result externref)
    (call $churn (i32.const 5000))
    (local.get $a))

  ;; More than there are registers for, as parameters and as results.
  (func $wide (export "wide") (param ${times(MANY, () => 'externref')}) (result ${times(MANY, () => 'externref')})
    (call $churn (i32.const 5000))
    ${times(MANY, (k) => `(local.get ${k})`)})
  (func $seeAll (param ${times(MANY, () => 'externref')})
    (call $churn (i32.const 5000))
    ${times(MANY, (k) => `(call $see (i32.const ${k}) (local.get ${k}))`)})
  (func (export "many")
    ${times(MANY, (k) => `(call $make (i32.const ${k}))`)}
    (call $wide)
    (call $seeAll))

  (func (export "payload") (local $e exnref)
    (block $caught (result i32 externref exnref)
      (try_table (catch_ref $tag $caught) (throw $tag (i32.const 5) (call $make (i32.const 5))))
      (unreachable))
    (local.set $e) (drop) (drop)
    (call $churn (i32.const 10000))
    (table.set $thrown (i32.const 0) (local.get $e))
    (local.set $e (ref.null exn))
    (call $churn (i32.const 10000))
    (block $again (result i32 externref)
      (try_table (catch $tag $again) (throw_ref (table.get $thrown (i32.const 0))))
      (unreachable))
    (table.set $thrown (i32.const 0) (ref.null exn))
    (call $see))

  (func (export "caught") (local $a externref)
    (block $caught (result externref)
      (try_table (catch $js $caught) (call $throws (i32.const 3)))
      (unreachable))
    (local.set $a)
    (call $churn (i32.const 10000))
    (call $see (i32.const 3) (local.get $a)))

  (func (export "stored")
    (table.set $table (i32.const 4) (call $make (i32.const 1)))
    (global.set $global (call $make (i32.const 2)))
    (call $churn (i32.const 10000))
    (call $see (i32.const 1) (table.get $table (i32.const 4)))
    (call $see (i32.const 2) (global.get $global))
    (table.copy $table $table (i32.const 5) (i32.const 4) (i32.const 1))
    (table.set $table (i32.const 4) (ref.null extern))
    (drop (table.grow $table (table.get $table (i32.const 5)) (i32.const 5000)))
    (table.set $table (i32.const 5) (ref.null extern))
    (call $churn (i32.const 10000))
    (call $see (i32.const 1) (table.get $table (i32.const 4999)))
    (table.init $table $segment (i32.const 0) (i32.const 0) (i32.const 1))
    (call $see (i32.const 9) (table.get $table (i32.const 0)))))`;

const drops = `(module
  (import "m" "make" (func $make (result externref)))
  (import "m" "take" (func $take (param externref)))
  (import "m" "throws" (func $throws))
  (import "m" "js" (tag $js (param externref)))
  (table $table (export "table") 100 externref)
  ${['drop', 'store', 'pass', 'catch']
    .map(
      (name) => `(func (export "${name}") (param $count i32)
        (loop $next
          ${
            {
              drop: '(drop (call $make))',
              store: '(table.set $table (i32.rem_u (local.get $count) (i32.const 100)) (call $make))',
              pass: '(call $take (call $make))',
              catch:
                '(drop (block $caught (result externref) (try_table (catch $js $caught) (call $throws)) (unreachable)))',
            }[name]
          }
          (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))`,
    )
    .join('\n')}
  (func (export "identity") (param externref) (result externref) (local.get 0)))`;

describe('a host value', () => {
  let seen;
  let wrong;
  let wasm;

  beforeAll(async () => {
    const module = new wn.Module(await wat(holders));
    const m = {
      make: (id) => ({ id }),
      see(id, value) {
        seen++;
        if (value?.id !== id) wrong.push([id, value]);
      },
      nest: (depth) => wasm.nest(depth),
      throws(id) {
        throw { id };
      },
      js: wn.JSTag,
      given: { id: 9 },
    };
    wasm = new wn.Instance(module, { m }).exports;
  });

  beforeEach(() => {
    seen = 0;
    wrong = [];
  });

  test.each([
    ['a local alone', () => wasm.local(), 1],
    ['registers, from one iteration of a loop to the next', () => wasm.loop(30_000), 30_000],
    ['a frame far up the stack, with JavaScript between', () => wasm.nest(60), 61],
    ['parameters and results that have no register', () => wasm.many(), MANY],
    ['the payload of an exception, held by a local and by a table', () => wasm.payload(), 1],
    ['a value that JavaScript threw', () => wasm.caught(), 1],
    ['a table, a global or a segment', () => wasm.stored(), 4],
  ])('is found while wasm runs in %s', (_, run, count) => {
    for (let round = 0; round < 3; round++) run();
    expect(wrong).toEqual([]);
    expect(seen).toBe(3 * count);
  });

  test.each([
    ['undefined', undefined],
    ['minus zero', -0],
    ['a symbol', Symbol('s')],
    ['a function', () => {}],
    ['NaN', NaN],
    ['a long string', 'x'.repeat(10_000)],
  ])('comes back after many others: %s', (_, value) => {
    expect(Object.is(wasm.pass(value), value)).toBe(true);
    const all = Array.from({ length: MANY }, (__, k) => (k % 2 ? { k } : value));
    wasm.wide(...all).forEach((result, k) => expect(Object.is(result, all[k])).toBe(true));
  });

  test('passed to many calls that are not over is still there when they are', () => {
    const inner = [];
    const make = (id) => {
      if (id % 1000 === 0 && inner.length < 40) {
        const value = { id, depth: inner.length };
        inner.push(value);
        if (nested.pass(value) !== value) wrong.push(value);
      }
      return { id };
    };
    const m = { make, see() {}, nest() {}, throws() {}, js: wn.JSTag, given: null };
    const nested = new wn.Instance(module(), { m }).exports;
    nested.churn(3000);
    expect([inner.length, wrong]).toEqual([40, []]);
  });

  let bytes;
  beforeAll(async () => (bytes = await wat(holders)));
  const module = () => new wn.Module(bytes);
});

// What a value costs that nobody has any more; V8 has other numbers, and Bun none that were looked at.
describe('three million host values that one call lets go do not pile up', () => {
  test.each([
    ['dropped', 'drop(3e6)'],
    ['stored over each other in a table', 'store(3e6)'],
    ['passed on to JavaScript, which passes them to wasm', 'pass(3e6)'],
    ['caught', 'catch(3e5)'],
  ])(
    '%s',
    async (_, call) => {
      const { stdout, stderr, status } = child(
        `let exports;
       const m = {
         make: () => ({}),
         take: (value) => exports.identity(value),
         throws() { throw {}; },
         js: wn.JSTag,
       };
       exports = new wn.Instance(new wn.Module(bytes.drops), { m }).exports;
       const before = process.memoryUsage().rss;
       exports.${call};
       console.log(Math.round((process.memoryUsage().rss - before) / 2 ** 20));`,
        { modules: { drops: await wat(drops) } },
      );
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
      expect(Number(stdout)).toBeLessThan(150);
    },
    120_000,
  );
});
