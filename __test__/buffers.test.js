'use strict';
// The buffers of memories, where something goes on with them: they are transferred, posted, streamed
// and worked on by other threads, and their Workers end.

const { MessageChannel } = require('node:worker_threads');
const wn = require('..');
const { child, instance, thrownBy, wat } = require('./helpers');

const isBun = process.versions.bun !== undefined;
const LONG = 240_000;

let modules;
beforeAll(async () => {
  modules = {
    grows: await wat(`(module (memory (export "memory") 1)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`),
    wide: await wat(`(module (memory (export "memory") i64 1)
      (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))`),
  };
});

/** Runs the code with memories that lie in either way; it prints what it found. */
function inBothStyles(code, options = {}) {
  for (const style of ['reserved', 'bounded']) {
    const env = { ...process.env, WASI_NATIVE_MEMORY: style };
    const { status, signal, stdout, stderr } = child(code, { modules, env, ...options });
    expect({ style, status, signal, stdout, stderr }).toMatchObject({ style, status: 0, signal: null });
    expect(stdout.trim()).toBe('fine');
  }
}

describe('the buffer of a memory', () => {
  test('is detached by growing, also by nothing and from nothing, and a new one takes its place', async () => {
    const { memory, grow } = (
      await instance(
        `(module (memory (export "memory") 0 5)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`,
      )
    ).exports;
    const isDetached = (buffer) => {
      try {
        return new Uint8Array(buffer).length < 0;
      } catch {
        return true;
      }
    };
    for (const by of [0, 1, 0, 1]) {
      for (const how of [() => grow(by), () => memory.grow(by)]) {
        const before = memory.buffer;
        expect(isDetached(before)).toBe(false);
        expect(memory.buffer).toBe(before);
        how();
        expect(isDetached(before)).toBe(true);
        expect(memory.buffer).not.toBe(before);
      }
    }
    const before = memory.buffer;
    expect(grow(100)).toBe(-1);
    expect(memory.buffer).toBe(before);
  });

  test('is not taken away by transfer()', () => {
    const memory = new wn.Memory({ initial: 1 });
    const before = memory.buffer;
    for (const method of ['transfer', 'transferToFixedLength']) {
      if (!(method in before)) continue;
      // By name: where V8 itself refuses, the error is of the buffer's realm, which is not jest's.
      expect(thrownBy(() => before[method]()).name).toBe('TypeError');
      expect(thrownBy(() => before[method](10)).name).toBe('TypeError');
    }
    try {
      new MessageChannel().port1.postMessage(before, [before]);
    } catch (error) {
      expect(error.name).toBe('DataCloneError');
    }
    expect(memory.buffer).toBe(before);
    expect(before.byteLength).toBe(65536);
  });

  test(
    'stays memory, whoever took it, while its memory grows and goes',
    () => {
      inBothStyles(
        `const taken = [];
       const take = async (buffer) => {
         // As a demanding library would, past any method of the buffer's own.
         try { taken.push(ArrayBuffer.prototype.transfer.call(buffer)); } catch {}
         try {
           const start = (controller) => controller.enqueue(new Uint8Array(buffer));
           const { value } = await new ReadableStream({ type: 'bytes', start }).getReader().read();
           taken.push(value.buffer);
         } catch {}
       };
       for (let i = 0; i < 8; i++) {
         const memory = new wn.Memory({ initial: 1 });
         await take(memory.buffer);
         for (let pages = 1; pages < 300; pages *= 3) memory.grow(pages);
         await take(memory.buffer);
       }
       for (let i = 0; i < 5; i++) { (globalThis.gc ?? (() => Bun.gc(true)))(); await new Promise(setImmediate); }
       const others = Array.from({ length: 20 }, () => new wn.Memory({ initial: 10 }));
       for (const buffer of taken) new Uint8Array(buffer).fill(7);
       if (others.some(({ buffer }) => new Uint8Array(buffer).includes(7))) throw new Error('seen by others');
       console.log('fine');`,
        { flags: isBun ? [] : ['--expose-gc'], ...(isBun ? { load: true } : {}) },
      );
    },
    LONG,
  );

  test(
    'stays memory after its Worker has ended, whoever got it',
    () => {
      const worker = `
      const { parentPort, workerData } = require('node:worker_threads');
      const wn = require(workerData);
      (async () => {
        const post = (view) => {
          try { parentPort.postMessage(view, [view.buffer]); } catch {}
        };
        for (let i = 0; i < 4; i++) {
          const memory = new wn.Memory({ initial: 100 });
          new Uint8Array(memory.buffer).fill(5);
          try { post(new Uint8Array(ArrayBuffer.prototype.transfer.call(memory.buffer))); } catch {}
          try {
            const start = (controller) => controller.enqueue(new Uint8Array(memory.buffer));
            post((await new ReadableStream({ type: 'bytes', start }).getReader().read()).value);
          } catch {}
          // One that nobody takes, and one that grows.
          globalThis['kept' + i] = [memory, memory.buffer, new wn.Memory({ initial: 1 }).buffer];
          memory.grow(1);
        }
        const fs = new wn.MemoryFS();
        fs.writeFile('/f', new Uint8Array(1 << 20).fill(5));
        post(new Uint8Array(fs.readFile('/f').buffer));
        parentPort.postMessage('done');
      })();`;
      inBothStyles(
        `const { Worker } = require('node:worker_threads');
       const got = [];
       for (let i = 0; i < 3; i++) {
         const worker = new Worker(${JSON.stringify(worker)}, { eval: true, workerData: require.resolve(${JSON.stringify(
           require.resolve('..'),
         )}) });
         // Its last message may come together with its end.
         const ended = new Promise((resolve) => worker.on('exit', resolve));
         await new Promise((resolve, reject) => {
           worker.on('error', reject);
           worker.on('message', (value) => (value === 'done' ? resolve() : got.push(value)));
         });
         await (i === 1 ? ended : worker.terminate());
       }
       new wn.Memory({ initial: 10 });
       for (const view of got) {
         if (view.length > 0 && !view.every((byte) => byte === 5)) throw new Error('other bytes');
       }
       // Only now: two of them may be over the bytes of one memory.
       for (const view of got) view.fill(6);
       console.log('fine');`,
      );
    },
    LONG,
  );

  test(
    'can be worked on by the threads of the pool while the memory grows and goes',
    () => {
      inBothStyles(
        `const crypto = require('node:crypto');
       const fs = require('node:fs');
       const zlib = require('node:zlib');
       const source = fs.openSync(process.execPath);
       const busy = [];
       const done = (resolve) => (error) => resolve();
       for (let i = 0; i < 12; i++) {
         const { memory, grow } = new wn.Instance(new wn.Module(bytes.grows)).exports;
         grow(100);
         const view = () => new Uint8Array(memory.buffer);
         busy.push(new Promise((resolve) => crypto.randomFill(view(), done(resolve))));
         busy.push(new Promise((resolve) => fs.read(source, view(), 0, 6e6, 0, done(resolve))));
         // Zeroes, which it compresses in one go: it goes on with no view that was detached in between.
         const other = new wn.Memory({ initial: 50 });
         busy.push(new Promise((resolve) => zlib.deflate(new Uint8Array(other.buffer), done(resolve))));
         other.grow(1);
         grow(1);
         busy.push(new Promise((resolve) => crypto.randomFill(view(), done(resolve))));
         grow(3000);
       }
       for (let i = 0; i < 10; i++) { globalThis.gc?.(); await new Promise(setImmediate); }
       await Promise.all(busy);
       console.log('fine');`,
        { flags: isBun ? [] : ['--expose-gc'] },
      );
    },
    LONG,
  );

  test(
    'over 4 GiB is one, or an error of its own',
    () => {
      const { status, signal, stdout, stderr } = child(
        `const { memory, grow } = new wn.Instance(new wn.Module(bytes.wide)).exports;
       if (grow(65600n) !== 1n) throw new Error('no room');
       for (let i = 0; i < 3; i++) {
         try {
           console.log(memory.buffer.byteLength);
         } catch (error) {
           console.log(error instanceof RangeError, error.code);
         }
         globalThis.gc?.();
         await new Promise(setImmediate);
       }`,
        { modules, flags: isBun ? [] : ['--expose-gc'] },
      );
      expect({ status, signal, stderr }).toMatchObject({ status: 0, signal: null });
      for (const line of stdout.trim().split('\n')) {
        expect(['4299227136', 'true ERR_WASI_RANGE']).toContain(line);
      }
    },
    LONG,
  );
});
