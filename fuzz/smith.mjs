// Modules by wasm-smith (crates/engine/examples/smith.rs), here and on V8 through the JavaScript interface: what
// imports are called with, what exports return or how they fail, and afterwards all memories, tables and globals. Here
// each runs twice, before all of its code is compiled and with all of it optimised.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { Random } from './random.mjs';

const require = createRequire(import.meta.url);
const wn = require('..');
const part = require('../dist/native.js');
const { finish } = part('webassembly/module');

const root = fileURLToPath(new URL('..', import.meta.url));

/** Modules that are asked for at a time. */
const BATCH = 50;

/** Instances that are made of a module, and how often their exports are called: one that ran for long runs no more. */
const INSTANCES = 3;
const CALLS = 10;

const text = (hex) => Buffer.from(hex, 'hex').toString();

/** `generate(seed)`: the module of a seed; undefined of one that makes none. */
function generator() {
  const words = ['build', '--release', '--workspace', '--example', 'smith', '--message-format=json'];
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'inherit'] };
  const built = execFileSync('cargo', words, options)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .find(({ target, executable }) => target?.name === 'smith' && executable);
  let [first, batch] = [0, new Map()];
  return (seed) => {
    if (!(seed >= first && seed < first + BATCH) || batch.size === 0) {
      const lines = execFileSync(built.executable, [`${seed}`, `${BATCH}`], options).trim();
      first = seed;
      batch = new Map(
        lines
          .split('\n')
          .filter(Boolean)
          .map((line) => [JSON.parse(line).seed, JSON.parse(line)]),
      );
    }
    return batch.get(seed);
  };
}

/** Whether it has a type whose values JavaScript cannot give. */
const isOdd = ({ type, params = [], results = [] }) =>
  [type, ...params, ...results].some((each) => each === 'other' || each === 'v128');

/** A value of a type, the same for all sides. */
function valueOf(type, random) {
  const floats = [
    0,
    -0,
    1,
    -1.5,
    1e10,
    -1e10,
    2 ** 31,
    2 ** 63,
    Infinity,
    -Infinity,
    NaN,
    5e-324,
    Math.fround(0.1),
  ];
  switch (type) {
    case 'i32':
      return random.i32();
    case 'i64':
      return random.i64();
    case 'f32':
      return Math.fround(random.pick(floats));
    case 'f64':
      return random.pick(floats);
    case 'externref':
      return random.pick([null, 'text', 7]);
    default:
      return null;
  }
}

/** A value as it can be compared. */
function shown(value) {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : `${value}`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `[${value.map(shown).join()}]`;
  return typeof value === 'object' && value !== null ? 'an object' : `${typeof value} ${String(value)}`;
}

/** The kinds of traps in the words of both engines, as coarse as the coarser of them. */
const TRAPS = [
  [/unreachable/, 'unreachable'],
  [/divide by zero|remainder by zero/, 'division by zero'],
  [/integer overflow|result unrepresentable|float unrepresentable|invalid conversion/, 'no such number'],
  [/out of bounds memory|memory access out of bounds|out of bounds/, 'out of bounds'],
  [/undefined element|index is out of bounds|table/, 'out of bounds'],
  [
    /indirect call|null function|signature mismatch|uninitialized element|null reference|dereferencing/,
    'a call of another type',
  ],
  [/rethrowing null|null exception/, 'no exception'],
];

/** How something failed. `undefined`: what comes after it cannot be compared. */
function failureOf(space, error) {
  if (/stack/i.test(error?.message) && error instanceof RangeError) return undefined;
  if (error instanceof space.RuntimeError) {
    const kind = TRAPS.find(([pattern]) => pattern.test(error.message))?.[1] ?? error.message;
    return `trap: ${kind}`;
  }
  const own = ['CompileError', 'LinkError', 'Exception'].find((name) => error instanceof space[name]);
  return `throws ${own ?? error?.constructor?.name ?? shown(error)}`;
}

class GivenUp extends Error {}

/** Adds everything that can be seen of an instance's run to the events, as texts. */
function run(space, { imports, functions }, module, random, events) {
  const given = {};
  for (const each of imports) {
    const value = importOf(space, each, random, events);
    const [name, field] = [text(each.module), text(each.name)];
    const among = Object.hasOwn(given, name) ? given[name] : Object.create(null);
    Object.defineProperty(given, name, { value: among, configurable: true, enumerable: true });
    among[field] = value;
  }
  const attempt = (what, act) => {
    let outcome;
    try {
      outcome = act();
    } catch (error) {
      const failure = failureOf(space, error);
      if (failure === undefined) throw new GivenUp();
      events.push(`${what} ${failure}`);
      return undefined;
    }
    return outcome;
  };
  const instance = attempt('instantiate', () => new space.Instance(module, given));
  if (instance === undefined) return;
  const names = Object.keys(instance.exports);
  events.push(`exports ${names.join()}`);
  // Most calls are of what JavaScript can call.
  const callable = functions.filter((each) => !isOdd(each));
  const among = () => (callable.length > 0 && random.chance(9, 10) ? callable : functions);
  for (let left = functions.length === 0 ? 0 : CALLS; left > 0; left--) {
    const { name, params } = random.pick(among());
    const args = params.map((type) => valueOf(type, random));
    const label = `${text(name)}(${args.map(shown).join()})`;
    const result = attempt(label, () => ({ value: instance.exports[text(name)](...args) }));
    if (result !== undefined) events.push(`${label} = ${shown(result.value)}`);
  }
  for (const name of names) {
    const value = instance.exports[name];
    if (value instanceof space.Global) {
      events.push(`${name}: ${attempt(name, () => shown(value.value))}`);
    } else if (value instanceof space.Memory) {
      const bytes = Buffer.from(value.buffer);
      const hash = createHash('sha256').update(bytes).digest('hex');
      events.push(`${name}: ${bytes.length} bytes, ${hash.slice(0, 16)}`);
    } else if (value instanceof space.Table) {
      const { length } = value;
      const isWide = typeof length === 'bigint';
      const places = Array.from({ length: Number(length) }, (_, at) => (isWide ? BigInt(at) : at));
      const elements = places.map((at) => attempt(name, () => (value.get(at) === null ? '-' : 'x')));
      events.push(`${name}: ${elements.join('')}`);
    }
  }
}

/** A type as V8 calls it, which knows the older name alone. */
const named = (type) => (type === 'funcref' ? 'anyfunc' : type);

function importOf(space, each, random, events) {
  const { kind, params, results, type, initial, maximum, wide, mutable } = each;
  const limits = {
    initial: wide ? BigInt(initial) : initial,
    maximum: wide ? BigInt(maximum) : maximum,
    ...(wide ? { address: 'i64' } : {}),
  };
  switch (kind) {
    case 'function': {
      const values = results.map((result) => valueOf(result, random));
      const label = `${text(each.module)}.${text(each.name)}`;
      return (...args) => {
        events.push(`calls ${label}(${args.map(shown).join()})`);
        return values.length > 1 ? values : values[0];
      };
    }
    case 'memory':
      return new space.Memory(limits);
    case 'table':
      return new space.Table({ ...limits, element: named(type) });
    case 'tag':
      return new space.Tag({ parameters: params.map(named) });
    default:
      return new space.Global(
        { value: type === 'funcref' ? 'anyfunc' : type, mutable },
        valueOf(type, random),
      );
  }
}

/** The events of one side, and whether they end before the module's run did. */
function observed(space, made, module, seed) {
  const events = [];
  const random = new Random(seed);
  try {
    for (let left = INSTANCES; left > 0; left--) run(space, made, module, random, events);
    return { events, isWhole: true };
  } catch (error) {
    if (!(error instanceof GivenUp)) throw error;
    return { events, isWhole: false };
  }
}

/** Where two sides differ: undefined for nowhere. */
function difference(seed, one, other) {
  const [a, b] = [one.side.events, other.side.events];
  const isWhole = one.side.isWhole && other.side.isWhole;
  const length = isWhole ? Math.max(a.length, b.length) : Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    if (a[at] === b[at]) continue;
    const begin = (event) => `${event}`.slice(0, 2000);
    return new Error(
      `seed ${seed}: event ${at}: ${one.name}: ${begin(a[at])}; ${other.name}: ${begin(b[at])}`,
    );
  }
  return undefined;
}

export async function start() {
  const generate = generator();
  return {
    async run(seed) {
      const made = generate(seed);
      if (made === undefined) return;
      if (made.imports.some((each) => each.kind !== 'function' && isOdd(each))) return;
      const bytes = Buffer.from(made.bytes, 'hex');
      let theirs;
      try {
        theirs = new WebAssembly.Module(bytes);
      } catch (error) {
        throw new Error(`seed ${seed}: V8 refuses it`, { cause: error });
      }
      const module = new wn.Module(bytes, { cache: false });
      const v8 = { name: 'V8', side: observed(WebAssembly, made, theirs, seed) };
      const begun = { name: 'here, as it is compiled', side: observed(wn, made, module, seed) };
      await finish(module, 'fuzz');
      const whole = { name: 'here, compiled', side: observed(wn, made, module, seed) };
      const found = difference(seed, v8, begun) ?? difference(seed, v8, whole);
      if (found !== undefined) throw found;
    },
  };
}
