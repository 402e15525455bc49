import { ruby } from '../modules.mjs';

const scripts = {
  fib: 'def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2); fib(25)',
  while: 'i = sum = 0; while i < 1_000_000; sum += i & 3; i += 1; end; sum',
  floats: '(1..100_000).sum { |i| 1.0 / (i * i) }',
  strings: '(1..30_000).map { |i| "#{i}:#{i * i}" }.join(",").split(",").map(&:reverse).sort.last',
  hash: 'h = Hash.new(0); 150_000.times { |i| h[i * 7919 % 1009] += i }; h.values.max',
  objects:
    'P = Struct.new(:x, :y) unless defined?(P); (1..40_000).map { |i| P.new(i, -i) }.sum { |p| p.x * p.y }',
  regexp: '("ab1cd22efg333" * 10_000).scan(/[a-z]+(\\d+)/).sum { |(n)| n.to_i }',
  bignum: '(1..3_000).inject(:*).to_s.size',
};

// The canonical ABI by hand, as examples/ruby.mjs explains it, over what every side can do.
async function allocate(side, bytes, align) {
  const [, address] = await side.ask('call', 'ruby', 'cabi_realloc', 0, 0, align, bytes.length);
  await side.ask('write', 'ruby', address, bytes.toString('hex'));
  return [Number(address), bytes.length];
}

export default {
  title: 'Hot compute: Ruby scripts in CRuby',
  notes: ["node:wasi runs without V8's fast calls: with them CRuby crashes Node 20 and 22."],
  peers: ['node, no fast calls', 'node 26, no fast calls', 'wasmtime'],
  async setUp(side) {
    if (side.name === 'ours') await side.ask('optimise', ruby());
    await side.ask('load', 'ruby', ruby());
    await side.ask('call', 'ruby', '_initialize');
    const words = [];
    for (const word of ['ruby\0', '-EUTF-8\0', '-e_=0\0'])
      words.push(...(await allocate(side, Buffer.from(word), 1)));
    const [list] = await allocate(side, Buffer.from(Int32Array.from(words).buffer), 4);
    await side.ask('call', 'ruby', 'ruby-init: func(args: list<string>) -> ()', list, words.length / 2);
  },
  rows: Object.entries(scripts).map(([name, script]) => ({
    name,
    rounds: 5,
    async measure(side) {
      const [address, length] = await allocate(side, Buffer.from(script), 1);
      const evaluate = 'rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>';
      const [time, result] = await side.ask('call', 'ruby', evaluate, address, length);
      const [status] = await side.ask('read', 'ruby', Number(result) + 4, 4);
      if (status !== '00000000') throw new Error('the script failed');
      return { time: Number(time) };
    },
  })),
};
