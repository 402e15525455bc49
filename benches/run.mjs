// npm run bench                        everything; half an hour and more
// npm run bench -- --only hot          one group, or several: --only hot,wasi
// npm run bench -- --only hot/fib      one row
// npm run bench -- --sides node        ours and only these peers
//
// Every row is measured in turns, A B C A B C, and the least time of each side counts: whatever
// else the machine does can only add to it.

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { Side } from './sides.mjs';
import { Table } from './table.mjs';

const groups = [
  'hot',
  'polls',
  'ruby',
  'wasi',
  'syscalls',
  'edges',
  'boundary',
  'native',
  'run',
  'runs',
  'loop',
  'start',
  'long',
  'stop',
  'instantiate',
  'instances',
  'compile',
  'rss',
];
const { values: options } = parseArgs({ options: { only: { type: 'string' }, sides: { type: 'string' } } });
const only = options.only?.split(',');
const unknown = only?.find((name) => !groups.includes(name.split('/')[0]));
if (unknown) {
  console.error(`there is no group ${unknown}; the groups are ${groups.join(', ')}`);
  process.exit(1);
}

console.log(`${cpus()[0].model}, ${cpus().length} cores; Node ${process.version}`);
for (const name of groups) {
  if (only && !only.some((wanted) => wanted.split('/')[0] === name)) continue;
  const { default: group } = await import(`./rows/${name}.mjs`);
  if (group.run) await group.run((row) => !only || only.includes(name) || only.includes(`${name}/${row}`));
  else for (const part of [group].flat()) await measure(name, part);
}

async function measure(name, group) {
  const wanted = (row) => !only || only.includes(name) || only.includes(`${name}/${row.name}`);
  const peers = group.peers.filter(
    (peer) => !options.sides || options.sides.split(',').includes(peer.split(',')[0]),
  );
  const rows = group.rows.filter(wanted);
  if (rows.length === 0) return;
  const ours = group.ours ?? 'ours';
  const table = new Table(group.title, peers, group.notes ?? []);

  // A side that does not start has its reason told in every row.
  const sides = new Map();
  const broken = new Map();
  for (const peer of [ours, ...peers]) {
    try {
      const side = new Side(peer);
      sides.set(peer, side);
      await group.setUp?.(side);
    } catch (error) {
      broken.set(peer, error.message);
    }
  }

  for (const row of rows) {
    const samples = await turns(row, sides, broken);
    const times = {};
    const problems = [];
    for (const [peer, outcome] of samples) {
      if (outcome.problem) problems.push(`${peer}: ${outcome.problem}`);
      else times[peer === ours ? 'ours' : peer] = Math.min(...outcome.times) / (row.per ?? 1);
    }
    const results = new Set(
      [...samples.values()].map(({ result }) => result).filter((result) => result !== undefined),
    );
    if (results.size > 1) problems.push(`the engines disagree about the result: ${[...results].join(', ')}`);
    table.row(row.label ?? row.name, times, problems);
  }
  table.end();
  for (const side of sides.values()) await side.close();
}

// A row measures as { time, result }; the result, where there is one, must be every engine's.
async function turns(row, sides, broken) {
  const samples = new Map();
  for (const [peer, problem] of broken) samples.set(peer, { problem });
  for (const [peer, side] of sides) {
    if (broken.has(peer)) continue;
    samples.set(peer, { times: [] });
    await attempt(samples, peer, () => row.prepare?.(side));
  }
  const warmUps = row.warmUps ?? 2;
  for (let round = -warmUps; round < (row.rounds ?? 9); round++) {
    for (const [peer, outcome] of samples) {
      if (outcome.problem) continue;
      await attempt(samples, peer, async () => {
        const { time, result } = await row.measure(sides.get(peer));
        outcome.result = result;
        if (round >= 0) outcome.times.push(time);
      });
    }
  }
  return samples;
}

async function attempt(samples, peer, action) {
  try {
    await action();
  } catch (error) {
    samples.set(peer, { problem: error.message });
  }
}
