'use strict';
// What V8's collector hears of native memory: programs that make and drop much of it, each in a process
// of its own.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const isBun = process.versions.bun !== undefined;

jest.setTimeout(130_000);

const ROOT = path.join(__dirname, '..');

/** The answer of a program that returns it; `addressSpace` is how many KiB of that it may have. */
function answer(body, { addressSpace } = {}) {
  const program = `
    const wn = require(${JSON.stringify(ROOT)});
    /* (module (memory (export "m") 256)
         (func (export "fill") (memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216)))
         (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))) */
    const module = new wn.Module(Uint8Array.of(
      0,97,115,109,1,0,0,0, 1,9,2,96,0,0,96,1,127,1,127, 3,3,2,0,1, 5,4,1,0,128,2,
      7,19,3,1,109,2,0,4,102,105,108,108,0,0,4,112,101,101,107,0,1,
      10,24,2,14,0,65,0,65,7,65,128,128,128,8,252,11,0,11,7,0,32,0,45,0,0,11));
    const MiB = 2 ** 20;
    let peak = 0;
    const look = () => (peak = Math.max(peak, process.memoryUsage().rss));
    /** Has V8 hear of so much that it collects. */
    const press = () => { for (let k = 0; k < 40; k++) new wn.Instance(module).exports.fill(); };
    (async () => { ${body} })().then((value) => console.log(JSON.stringify(value)));`;
  // V8 would reserve gigabytes for its own memories.
  const limited = `ulimit -v ${addressSpace}; exec "$0" --disable-wasm-trap-handler -e "$1"`;
  const command =
    addressSpace === undefined
      ? [process.execPath, ['-e', program]]
      : ['bash', ['-c', limited, process.execPath, program]];
  const { stdout, stderr, status } = spawnSync(...command, { encoding: 'utf8', timeout: 120_000 });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

// They rely on V8, which collects at once when it is told of much. Bun has another collector: what it gives
// back, and when, has not been looked at.
const inNode = isBun ? test.skip : test;
// Others do not tell how much was touched, or have no /proc.
const onLinux = process.platform === 'linux' ? inNode : test.skip;

describe('native memory that nobody has any more', () => {
  inNode('is given back in a loop that never lets the event loop turn', () => {
    const peak = answer(`
      for (let k = 0; k < 90; k++) { (await wn.instantiate(module)).exports.fill(); look(); }
      return peak / MiB;`);
    expect(peak).toBeLessThan(1024);
  });

  inNode('is given back in a loop without any await', () => {
    expect(
      answer(
        'for (let k = 0; k < 90; k++) { new wn.Instance(module).exports.fill(); look(); } return peak / MiB;',
      ),
    ).toBeLessThan(1024);
  });

  inNode('leaves its address space to others: memories beyond what the kernel maps', () => {
    expect(answer('for (let k = 0; k < 40000; k++) new wn.Memory({ initial: 1 }); return true;')).toBe(true);
  });

  onLinux('leaves its address space to others, also if the memories have no pages', () => {
    const terabytes = answer(`
      for (let k = 0; k < 15000; k++) new wn.Memory({ initial: 0 });
      const status = require('node:fs').readFileSync('/proc/self/status', 'latin1');
      return /VmPeak:\\s+(\\d+)/.exec(status)[1] / 2 ** 30;`);
    // Each takes 4 GiB; those of all would be 60.
    expect(terabytes).toBeLessThan(30);
  });

  onLinux('is given back in a loop where there is little address space, touched or not', () => {
    const loops = `
      for (let k = 0; k < 600; k++) { new wn.Instance(module); new Uint8Array(MiB); }
      for (let k = 0; k < 90; k++) { new wn.Instance(module).exports.fill(); look(); }
      return peak / MiB;`;
    expect(answer(loops, { addressSpace: 3_000_000 })).toBeLessThan(1024);
  });

  onLinux('has V8 collect for what was touched, also if that is long after it was made', () => {
    const peak = answer(`
      for (let k = 0; k < 20; k++) {
        const some = Array.from({ length: 12 }, () => new wn.Instance(module));
        for (const { exports } of some) exports.fill();
        look();
      }
      return peak / MiB;`);
    expect(peak).toBeLessThan(1024);
  });

  onLinux('does not have V8 collect for what nobody has touched', () => {
    const collections = answer(`
      const { constants, PerformanceObserver } = require('node:perf_hooks');
      let count = 0;
      const observer = new PerformanceObserver((list) => {
        for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count++;
      });
      observer.observe({ entryTypes: ['gc'] });
      // 3.2 GB, without their mappings.
      for (let k = 0; k < 200; k++) new wn.Instance(module);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return count;`);
    expect(collections).toBeLessThan(3);
  });

  inNode('is nothing that the next memory could read', () => {
    const seen = answer(`
      let seen = 0;
      for (let k = 0; k < 40; k++) {
        const { peek, fill } = new wn.Instance(module).exports;
        for (let at = 0; at < 16 * MiB; at += 4096) seen |= peek(at);
        fill();
      }
      return seen;`);
    expect(seen).toBe(0);
  });
});

describe('native memory that can be reached stays', () => {
  test.each([
    ['by a function', 'const { fill, peek } = new wn.Instance(module).exports; fill();', 'peek(4096)'],
    [
      'by a function in a table',
      `const table = new wn.Table({ element: 'anyfunc', initial: 1 });
       (() => { const { fill, peek } = new wn.Instance(module).exports; fill(); table.set(0, peek); })();`,
      'table.get(0)(4096)',
    ],
    [
      'by a Memory',
      'const memory = (() => { const { m, fill } = new wn.Instance(module).exports; fill(); return m; })();',
      'new Uint8Array(memory.buffer)[4096]',
    ],
    [
      'by a view alone',
      'const view = (() => { const { m, fill } = new wn.Instance(module).exports; fill(); return new Uint8Array(m.buffer); })();',
      'view[4096]',
    ],
  ])('%s', (_, make, look) => {
    expect(answer(`${make} press(); await undefined; press(); return ${look};`)).toBe(7);
  });
});
