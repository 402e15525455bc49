import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { python } from '../modules.mjs';
import { PROGRAMS, fill, medians, whole } from '../processes.mjs';
import { Table } from '../table.mjs';

const ROUNDS = 3;

// Calls, a dictionary, strings, a sort and a pattern, for about ten seconds.
const SCRIPT = `
import re
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
total = 0
for turn in range(4):
    total += fib(26)
    counts = {}
    for i in range(600000): counts[i * 7919 % 1009] = counts.get(i * 7919 % 1009, 0) + i
    words = ' '.join(str(i * i) for i in range(150000)).split(' ')
    words.sort(key=lambda word: word[::-1])
    total += len(re.findall(r'[1-4]+([5-9]+)', ','.join(words)))
print(total)
`;

// A program of many seconds that no process has run before: compiled while it runs, or before it starts.
export default {
  async run() {
    const directory = mkdtempSync(join(tmpdir(), 'wasi-native-'));
    const options = JSON.stringify({ args: ['python', '-c', SCRIPT] });
    const time = async (side, cache) => (await whole(['-e', PROGRAMS[side], python(), options], cache)).time;
    const sides = {
      ours: (cache) => time('ours', cache),
      async eager(cache) {
        const begin = process.hrtime.bigint();
        await fill(cache, python());
        await time('ours', cache);
        return Number(process.hrtime.bigint() - begin);
      },
      node: (cache) => time('node', cache),
    };
    const taken = { ours: [], eager: [], node: [] };
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (const [side, measure] of Object.entries(sides)) {
          const cache = join(directory, `${side}-${round}`);
          taken[side].push(await measure(cache));
          rmSync(cache, { recursive: true, force: true });
        }
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
    const table = new Table(
      'A Python program of many seconds, with an empty cache',
      ['eager', 'node'],
      [
        `ours: run(path). eager: wasi-native compile, then the same. node: node:wasi. Medians of ${ROUNDS}, Node 26.`,
      ],
    );
    table.row('from start to exit', medians(taken), []);
    table.end();
  },
};
