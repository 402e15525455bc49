'use strict';
// What a program may have in all, and what happens where the machine has no more.

const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');

const isBun = process.versions.bun !== undefined;
const LONG = 240_000;
const MIB = 1 << 20;

const times = (count, text) => text.repeat(count);

describe('limits.total', () => {
  const wasi = (limits) => new wn.WASI({ version: 'preview1', stdin: 'ignore', limits });
  const program = (body) => wat(`(module ${body} (func (export "_start")))`);

  test('is by default 64 MiB more than limits.memory, for all memories and tables together', async () => {
    const many = await program(
      `(memory (export "memory") 64) (table 8000000 externref) ${times(20, '(table 1000000 externref)')}`,
    );
    const few = await program('(memory (export "memory") 64) (table 8000000 externref)');
    const limits = { memory: 4 * MIB };
    await expect(wasi(limits).run(few)).resolves.toMatchObject({ code: 0 });
    await expect(wasi(limits).run(many)).rejects.toMatchObject({
      code: 'ERR_WASI_LIMIT',
      message: expect.stringContaining('limits.total'),
    });
    await expect(wasi({ ...limits, total: 300 * MIB }).run(many)).resolves.toMatchObject({ code: 0 });
    await expect(wasi({ total: 3 * MIB }).run(few)).rejects.toMatchObject({ code: 'ERR_WASI_LIMIT' });
  });

  test('does not hold for what the host makes while the program starts', async () => {
    const module = new wn.Module(
      await wat(`(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
        (import "host" "make" (func $make))
        (memory (export "memory") 1) (start $make))`),
    );
    const other = new wn.Module(await wat('(module (memory (export "memory") 80))'));
    let made;
    const make = () => (made = [new wn.Memory({ initial: 80 }), new wn.Instance(other).exports.memory]);
    const limited = wasi({ memory: MIB });
    new wn.Instance(module, { ...limited.getImportObject(), host: { make } });
    expect(made.map(({ buffer }) => buffer.byteLength)).toEqual([5 * MIB, 5 * MIB]);
  });

  test('counts all instances of a WASI object together, until they are collected or closed', async () => {
    const module = new wn.Module(
      await wat(`(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
        (memory (export "memory") 16))`),
    );
    const one = wasi({ total: 3 * MIB });
    const make = () => new wn.Instance(module, one.getImportObject());
    const made = [make(), make(), make()];
    expect(thrownBy(make)).toMatchObject({ name: 'RangeError', code: 'ERR_WASI_LIMIT' });
    expect(thrownBy(() => made[0].exports.memory.grow(1))).toMatchObject({ code: 'ERR_WASI_RANGE' });
    const other = wasi({ total: 3 * MIB });
    new wn.Instance(module, other.getImportObject());
    made[0].close();
    made.push(make());
    expect(thrownBy(make)).toMatchObject({ code: 'ERR_WASI_LIMIT' });
    expect(made[1].exports.memory.buffer.byteLength).toBe(MIB);
  });

  test('holds for what grows: memories, shared ones too, and tables get -1', async () => {
    const grows = await wat(`(module
      (memory (export "memory") 1) (table $t 1 externref)
      (func (export "memory.grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "table.grow") (param i32) (result i32) (table.grow $t (ref.null extern) (local.get 0))))`);
    const shared = await wat(`(module
      (memory (export "memory") 1 1000 shared)
      (func (export "memory.grow") (param i32) (result i32) (memory.grow (local.get 0))))`);
    for (const [bytes, name] of [
      [grows, 'memory.grow'],
      [grows, 'table.grow'],
      [shared, 'memory.grow'],
    ]) {
      const { exports } = await wasi({ total: MIB }).spawn(bytes, {});
      expect(await exports[name](name === 'table.grow' ? 1000 : 2)).toBe(1);
      expect(await exports[name](name === 'table.grow' ? 200_000 : 20)).toBe(-1);
      expect(await exports[name](1)).toBe(name === 'table.grow' ? 1001 : 3);
      exports[Symbol.dispose]?.();
    }
  });
});

describe('where there is no more', () => {
  test(
    'exceptions that hold the one before end the program, not the process',
    () => {
      // (loop: try_table catches the last one and throws it as the payload of the next), in binary by
      // hand: the tag (param exnref), and a table that keeps the newest.
      const { status, signal, stdout, stderr } = child(
        `const leb = (n) => { const b = []; do { let x = n & 127; n >>>= 7; b.push(n ? x | 128 : x); } while (n); return b; };
       const section = (id, body) => [id, ...leb(body.length), ...body];
       const body = [0, // no locals
         0x03, 0x40, // loop
         0x02, 0x69, // block (result exnref)
         0x1f, 0x40, 1, 1, 0, 0, // try_table (catch_ref 0 -> the block); its values: exnref exnref
         0x23, 0, 0x08, 0, // global.get 0, throw 0
         0x0b, 0x00, 0x0b, // end, unreachable, end
         0x24, 0, // global.set 0
         0x0c, 0, 0x0b, 0x0b];
       // A block of two results needs a type: (exnref, exnref).
       body.splice(3, 2, 0x02, 2);
       body.splice(body.indexOf(0x24), 0, 0x24, 0, 0x1a), body.splice(body.lastIndexOf(0x24), 2);
       const module = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
         ...section(1, [3, 0x60, 0, 0, 0x60, 1, 0x69, 0, 0x60, 0, 2, 0x69, 0x69]),
         ...section(3, [1, 0]), ...section(5, [1, 0, 1]), ...section(13, [1, 0, 1]),
         ...section(6, [1, 0x69, 1, 0xd0, 0x69, 0x0b]),
         ...section(7, [2, 6, ...Buffer.from('_start'), 0, 0, 6, ...Buffer.from('memory'), 2, 0]),
         ...section(10, [1, ...leb(body.length), ...body])]);
       const told = (error) => console.log(error.name, error.code);
       const wasi = (limits) => new wn.WASI({ version: 'preview1', stdin: 'ignore', limits });
       await wasi({ memory: 65536 }).run(module).then(console.log, told);
       await wasi({}).run(module).then(console.log, told);
       try { new wn.Instance(new wn.Module(module)).exports._start(); } catch (error) { told(error); }
       if (process.memoryUsage().rss > 1.5e9) throw new Error('too much: ' + process.memoryUsage().rss);`,
      );
      expect({ status, signal, stderr }).toMatchObject({ status: 0, signal: null });
      expect(stdout).toBe('RangeError ERR_WASI_LIMIT\n'.repeat(3));
    },
    LONG,
  );

  const { spawnSync } = require('node:child_process');
  /** As `child`, with so many KiB of address space. */
  const within = (kib, code, modules) => {
    const text = `const wn = require(${JSON.stringify(require.resolve('..'))});
      const bytes = Object.fromEntries(${JSON.stringify(
        Object.entries(modules).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
      )}.map(([name, text]) => [name, Buffer.from(text, 'base64')]));
      (async () => { ${code} })().catch((error) => { console.error(error); process.exit(99); });`;
    const shell = `ulimit -v ${kib}; exec "$0" --disable-wasm-trap-handler --expose-gc -e "$1"`;
    return spawnSync('bash', ['-c', shell, process.execPath, text], { encoding: 'utf8' });
  };
  const onLinux = process.platform === 'linux' && !isBun ? test : test.skip;

  onLinux(
    'tables and memories beyond the address space are errors, and less works then',
    async () => {
      const modules = {
        tables: await wat(`(module (memory (export "memory") 1) ${times(90, '(table 10000000 externref)')}
        (func (export "_start")))`),
        one: await wat(
          '(module (memory (export "memory") 1) (table 1000 externref) (func (export "_start")))',
        ),
        grows: await wat(`(module (memory (export "memory") 1) (table $t 1 externref)
        (func (export "_start")
          (loop (br_if 0 (i32.ne (i32.const -1) (table.grow $t (ref.null extern) (i32.const 500000)))))
          (loop (br_if 0 (i32.ne (i32.const -1) (memory.grow (i32.const 100)))))))`),
      };
      const { status, signal, stdout, stderr } = within(
        3_000_000,
        `const wasi = () => new wn.WASI({ version: 'preview1', stdin: 'ignore' });
       const told = ({ name, code }) => console.log(name, code);
       await wasi().run(bytes.tables).then(console.log, told);
       try { new wn.Instance(new wn.Module(bytes.tables)); } catch (error) { told(error); }
       console.log((await wasi().run(bytes.one)).code, (await wasi().run(bytes.grows)).code);
       const kept = [];
       try { for (;;) { kept.push(new wn.Memory({ initial: 1000 })); kept.at(-1).buffer; } } catch (error) { told(error); }
       if (kept.length < 5) throw new Error('too few: ' + kept.length);
       kept.length = 0;
       console.log(new wn.Memory({ initial: 1 }).buffer.byteLength);`,
        modules,
      );
      expect({ status, signal, stderr }).toMatchObject({ status: 0, signal: null });
      const refused = 'RangeError ERR_WASI_RESOURCE\n';
      expect(stdout).toBe(`${refused}${refused}0 0\n${refused}65536\n`);
    },
    LONG,
  );
});
