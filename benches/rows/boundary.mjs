import { addon, kernel } from '../modules.mjs';

// Few calls at a time and many times: what else the machine does then spoils few of them.
const COUNT = 10_000;
const TIMES = 100;
const turns = { per: COUNT, warmUps: 1, rounds: 12 };

const group = (node, ours, addonSide, v8) => ({
  title: `Across the edge between JavaScript and WebAssembly, one call, on ${node}`,
  notes: [
    'C addon: the same in C over Node-API, which every native addon is; the import is a napi_call_function.',
    'node: V8 calls its own WebAssembly, which no addon can.',
  ],
  ours,
  peers: [addonSide, v8],
  async setUp(side) {
    await side.ask('load', 'boundary', side.name === addonSide ? addon() : kernel('boundary'));
    await side.ask('call', 'boundary', '_initialize');
  },
  rows: [
    {
      name: 'enter',
      label: 'JavaScript calls add(i32, i32)',
      ...turns,
      measure: async (side) => ({ time: await side.time('enter', 'boundary', 'add', COUNT, TIMES) }),
    },
    {
      name: 'enter64',
      label: 'JavaScript calls next(i64)',
      ...turns,
      measure: async (side) => ({ time: await side.time('enter64', 'boundary', 'next', COUNT, TIMES) }),
    },
    {
      name: 'import',
      label: 'wasm calls a JavaScript import',
      ...turns,
      async measure(side) {
        const [time, result] = await side.ask('least', 'boundary', 'call_import', COUNT, TIMES);
        return { time: Number(time), result };
      },
    },
  ],
});

export default [
  group(`Node ${process.version}`, 'ours', 'C addon', 'node'),
  group('Node 26', 'ours, Node 26', 'C addon, Node 26', 'node 26'),
];
