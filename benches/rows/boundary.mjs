import { kernel } from '../modules.mjs';

const COUNT = 1_000_000;

export default {
  title: 'Across the edge between JavaScript and WebAssembly, one call',
  peers: ['node'],
  async setUp(side) {
    await side.ask('load', 'boundary', kernel('boundary'));
    await side.ask('call', 'boundary', '_initialize');
  },
  rows: [
    {
      name: 'enter',
      label: 'JavaScript calls add(i32, i32)',
      per: COUNT,
      measure: async (side) => ({ time: await side.time('enter', 'boundary', 'add', COUNT) }),
    },
    {
      name: 'import',
      label: 'wasm calls a JavaScript import',
      per: COUNT,
      async measure(side) {
        const [time, result] = await side.ask('call', 'boundary', 'call_import', COUNT);
        return { time: Number(time), result };
      },
    },
  ],
};
