'use strict';
// Sockets that a host hands in, and descriptors that programs hand to each other.

const { execFileSync, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const { thrownBy, wat } = require('./helpers');

const EAGAIN = 6;
const EBADF = 8;
const EMFILE = 33;
const ENOENT = 44;
const ENOTCAPABLE = 76;
const NONBLOCK = 4;
const SHUT_WR = 2;

/** Does with sockets what JavaScript says; bytes to send and received bytes are at address 1000. */
const TALKER = `(module
  (import "wasi_snapshot_preview1" "sock_accept"
    (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send"
    (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "set_flags") (param i32 i32) (result i32)
    (call $set_flags (local.get 0) (local.get 1)))
  (func (export "accept") (param $fd i32) (result i32 i32)
    (call $accept (local.get $fd) (i32.const 0) (i32.const 0))
    (i32.load (i32.const 0)))
  (func (export "receive") (param $fd i32) (result i32 i32)
    (i32.store (i32.const 8) (i32.const 1000)) (i32.store (i32.const 12) (i32.const 4096))
    (call $recv (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0)
      (i32.const 4))
    (i32.load (i32.const 0)))
  (func (export "send") (param $fd i32) (param $length i32) (result i32)
    (i32.store (i32.const 8) (i32.const 1000)) (i32.store (i32.const 12) (local.get $length))
    (call $send (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0)))
  (func (export "shutdown") (param i32 i32) (result i32)
    (call $shutdown (local.get 0) (local.get 1)))
  (func (export "close") (param i32) (result i32) (call $close (local.get 0)))
  (func (export "prestat") (param i32) (result i32)
    (call $prestat (local.get 0) (i32.const 0))))`;

let directory;
beforeAll(() => (directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** A program that talks over these sockets, with `receive` and `send` in terms of text. */
async function talker(sockets, options = {}, namespace = wn) {
  const wasi = new wn.WASI({ version: 'preview1', sockets, ...options });
  const module = new namespace.Module(await wat(TALKER));
  const instance = new namespace.Instance(module, wasi.getImportObject());
  wasi.initialize(instance);
  const { memory, ...exports } = instance.exports;
  return {
    ...exports,
    receive(fd) {
      const [errno, length] = exports.receive(fd);
      return errno === 0 ? Buffer.from(memory.buffer, 1000, length).toString() : errno;
    },
    send(fd, text) {
      const { written } = new TextEncoder().encodeInto(text, new Uint8Array(memory.buffer, 1000));
      return exports.send(fd, written);
    },
  };
}

async function listening(options) {
  const server = net.createServer(options).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: server.address().port };
}

/** A process that connects, says something, and prints what it is told. */
function client(port) {
  const code = `
    const socket = require('node:net').connect(${port}, '127.0.0.1');
    socket.setEncoding('utf8').on('data', (text) => process.stdout.write(text));
    socket.end('a question');`;
  const process_ = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  process_.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
  return once(process_, 'close').then(([status]) => ({ status, printed }));
}

describe.each([
  ['on our engine', wn],
  ["on V8's engine", WebAssembly],
])('a program %s', (_, namespace) => {
  test('accepts from a net.Server, receives, answers and shuts down', async () => {
    const { server, port } = await listening();
    const program = await talker([server], {}, namespace);
    server.close(); // The program's listener is its own.
    // A listener is handed in so, as by other hosts.
    expect(program.accept(3)[0]).toBe(EAGAIN);
    expect(program.set_flags(3, 0)).toBe(0);
    expect(program.set_flags(3, NONBLOCK)).toBe(0);
    expect(program.accept(3)[0]).toBe(EAGAIN);
    expect(program.set_flags(3, 0)).toBe(0);
    const answered = client(port);
    const [errno, connection] = program.accept(3);
    expect(errno).toBe(0);
    expect(program.receive(connection)).toBe('a question');
    expect(program.receive(connection)).toBe('');
    expect(program.send(connection, 'an answer')).toBe(0);
    expect(program.shutdown(connection, SHUT_WR)).toBe(0);
    expect(await answered).toEqual({ status: 0, printed: 'an answer' });
    expect(program.close(connection)).toBe(0);
  });
});

/** Accepts one connection and sends back what comes first on it. */
const ECHO = TALKER.replace(
  /\)$/,
  `(func (export "_start") (local $fd i32)
    (if (call $accept (i32.const 3) (i32.const 0) (i32.const 0)) (then unreachable))
    (local.set $fd (i32.load (i32.const 0)))
    (i32.store (i32.const 8) (i32.const 1000)) (i32.store (i32.const 12) (i32.const 4096))
    (if (call $recv (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 12)
      (i32.const 4)) (then unreachable))
    (if (call $send (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0))
      (then unreachable))
    (if (call $shutdown (local.get $fd) (i32.const ${SHUT_WR})) (then unreachable))))`,
);

describe('a program on a thread of its own', () => {
  test('serves a client of this very process, each time it runs', async () => {
    const { server, port } = await listening();
    const wasi = new wn.WASI({ version: 'preview1', sockets: [{ socket: server, nonblock: false }] });
    server.close();
    const module = await wn.compile(await wat(ECHO));
    for (const text of ['first', 'second']) {
      const ended = wasi.run(module, { timeout: 30000 });
      const peer = net.connect(port, '127.0.0.1').setEncoding('utf8');
      peer.end(text);
      expect((await once(peer, 'data'))[0]).toBe(text);
      expect(await ended).toMatchObject({ code: 0 });
    }
  });

  test('is stopped while it waits for a client', async () => {
    const { server } = await listening();
    const wasi = new wn.WASI({ version: 'preview1', sockets: [{ socket: server, nonblock: false }] });
    server.close();
    const ended = wasi.run(await wat(ECHO), { timeout: 50 });
    await expect(ended).rejects.toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
  });

  test.each([
    ['read', 2],
    ['write', 0x40],
  ])('is stopped while it waits for the other end of a named pipe to %s it', async (_, rights) => {
    const made = fs.mkdtempSync(path.join(directory, 'pipe-'));
    execFileSync('mkfifo', [path.join(made, 'pipe')]);
    const opens = `(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 100) "pipe")
      (func (export "_start")
        (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
          (i32.const 0) (i64.const ${rights}) (i64.const 0) (i32.const 0) (i32.const 16)))
        unreachable))`;
    const wasi = new wn.WASI({ version: 'preview1', preopens: { '/': made } });
    const ended = wasi.run(await wat(opens), { timeout: 50 });
    await expect(ended).rejects.toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
  });
});

test('a net.Socket is handed in, and each side closes its own', async () => {
  const { server, port } = await listening({ pauseOnConnect: true });
  const peer = net.connect(port, '127.0.0.1').setEncoding('utf8');
  const [socket] = await once(server, 'connection');
  const program = await talker([socket]);
  socket.destroy();
  server.close();
  expect(program.send(3, 'from the program')).toBe(0);
  expect((await once(peer, 'data'))[0]).toBe('from the program');
  peer.end('from Node');
  await once(peer, 'finish');
  expect(program.receive(3)).toBe('from Node');
  expect(program.close(3)).toBe(0);
  await once(peer, 'close');
});

test('a descriptor is handed in as a number, and closing it here is not closing it there', async () => {
  const { server, port } = await listening();
  const program = await talker([server._handle.fd]);
  expect(program.close(3)).toBe(0);
  const connected = once(server, 'connection');
  const peer = net.connect(port, '127.0.0.1');
  const [socket] = await connected;
  socket.destroy();
  await once(peer.resume(), 'close');
  server.close();
});

test('listeners and connections are made on request', async () => {
  const { server, port } = await listening();
  const accepted = once(server, 'connection');
  const connected = await talker([{ connect: { port } }]);
  const [socket] = await accepted;
  expect(connected.send(3, 'hello')).toBe(0);
  expect(connected.shutdown(3, SHUT_WR)).toBe(0);
  expect((await once(socket.setEncoding('utf8'), 'data'))[0]).toBe('hello');
  socket.end();
  server.close();
  await once(server, 'close');
  const listener = await talker([{ listen: { host: '127.0.0.1', port }, nonblock: false }]);
  const answered = client(port);
  const [errno, connection] = listener.accept(3);
  expect(errno).toBe(0);
  expect(listener.receive(connection)).toBe('a question');
  expect(listener.close(connection)).toBe(0);
  expect((await answered).status).toBe(0);
});

test('sockets have the descriptors behind the preopened directories', async () => {
  const { server, port } = await listening();
  const preopens = { '/': new wn.MemoryFS(), '/data': directory };
  const accepted = once(server, 'connection');
  const program = await talker([server, { connect: { port } }], { preopens });
  expect(program.prestat(4)).toBe(0);
  // wasi-libc goes through the preopens until it is told this.
  expect(program.prestat(5)).toBe(EBADF);
  expect(program.send(5, 'x')).not.toBe(0);
  expect(program.send(6, 'over the connection')).toBe(0);
  const [socket] = await accepted;
  expect((await once(socket.setEncoding('utf8'), 'data'))[0]).toBe('over the connection');
  socket.destroy();
  server.close();
});

test('what is no socket is refused with words', async () => {
  const failure = (sockets) => thrownBy(() => new wn.WASI({ version: 'preview1', sockets }));
  expect(failure({}).code).toBe('ERR_INVALID_ARG_TYPE');
  expect(failure(['80'])).toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
    message: expect.stringMatching(/options\.sockets\[0\].*net\.Server, a net\.Socket/),
  });
  expect(failure([-1]).code).toBe('ERR_OUT_OF_RANGE');
  expect(failure([net.createServer()])).toMatchObject({
    code: 'ERR_INVALID_ARG_VALUE',
    message: expect.stringMatching(/wait for its "listening" event/),
  });
  expect(failure([new net.Socket()]).message).toMatch(/wait for its "connect" event/);
  expect(failure([{}]).message).toMatch(/either "listen" or "connect"/);
  expect(failure([{ listen: { port: 1 }, connect: { port: 1 } }]).code).toBe('ERR_INVALID_ARG_VALUE');
  const both = failure([{ listen: { port: 1 }, socket: 3 }]);
  expect(both.message).toMatch(/either "listen" or "connect" or "socket"/);
  expect(failure([{ socket: 'x' }]).code).toBe('ERR_INVALID_ARG_TYPE');
  expect(failure([{ listen: { port: 1 }, nonblock: 1 }]).code).toBe('ERR_INVALID_ARG_TYPE');
  expect(failure([{ lisen: { port: 1 } }]).message).toMatch(/'options\.sockets\[0\]\.lisen'/);
  expect(failure([{ listen: {} }]).code).toBe('ERR_INVALID_ARG_TYPE');
  expect(failure([{ listen: { port: 0 } }]).code).toBe('ERR_OUT_OF_RANGE');
  const file = fs.openSync(__filename, 'r');
  expect(failure([file])).toMatchObject({
    code: 'ERR_WASI_OPTION',
    message: 'WASI options: cannot use socket 0: ENOTSOCK; give a listener or a connection',
  });
  fs.closeSync(file);
  expect(failure([file]).message).toMatch(/^options\.sockets\[0\]: cannot use descriptor \d+: Bad/);
  const { server, port } = await listening();
  expect(failure([{ listen: { port } }]).message).toMatch(
    new RegExp(`^options\\.sockets\\[0\\]: cannot listen on 127\\.0\\.0\\.1, port ${port}: Addr`),
  );
  server.close();
  await once(server, 'close');
  expect(failure([{ connect: { port } }]).message).toMatch(/port \d+: Connection refused/);
});

/** Opens "file" and gives it, with these rights, to the program that it knows as "worker". */
const GIVER = `(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_native_ext" "fd_give"
    (func $give (param i32 i32 i32 i64 i64 i32) (result i32)))
  (import "worker" "read" (func $read (param i32) (result i32 i32)))
  (import "worker" "write" (func $write (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "file") (data (i32.const 110) "worker")
  (global $fd (mut i32) (i32.const -1))
  (func (export "open") (result i32)
    (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0)
      (i64.const 0x46) (i64.const 0) (i32.const 0) (i32.const 16))
    (global.set $fd (i32.load (i32.const 16))))
  (func (export "give") (param $rights i64) (result i32 i32)
    (call $give (global.get $fd) (i32.const 110) (i32.const 6) (local.get $rights) (i64.const 0)
      (i32.const 16))
    (i32.load (i32.const 16)))
  (func (export "run") (param $given i32) (result i32 i32 i32)
    (call $read (local.get $given))
    (call $write (local.get $given))))`;

/** Reads and writes what it is given; it has no directory. */
const WORKER = `(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "read") (param $fd i32) (result i32 i32)
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 100))
    (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
    (i32.load (i32.const 8)))
  (func (export "write") (param $fd i32) (result i32)
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 4))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func (export "close") (param $fd i32) (result i32) (call $fd_close (local.get $fd)))
  (func (export "open_at") (param $fd i32) (result i32)
    (call $path_open (local.get $fd) (i32.const 0) (i32.const 200) (i32.const 4) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))))`;

const FD_READ = 2n;
const FD_READ_WRITE = 0x42n;

/** Two programs linked to each other as modules are, each with a WASI of its own. */
async function pair({ giver = {}, worker = {} } = {}) {
  const wasi = {
    giver: new wn.WASI({
      version: 'preview1',
      allow: ['*', 'wasi_native_ext.fd_give'],
      preopens: { '/': new wn.MemoryFS({ files: { file: 'what the file says' } }) },
      ...giver,
    }),
    worker: new wn.WASI({ version: 'preview1', ...worker }),
  };
  const inner = new wn.Instance(new wn.Module(await wat(WORKER)), wasi.worker.getImportObject());
  wasi.worker.initialize(inner);
  const imports = Object.assign(wasi.giver.getImportObject(), { worker: inner.exports });
  const outer = new wn.Instance(new wn.Module(await wat(GIVER)), imports);
  wasi.giver.initialize(outer);
  expect(outer.exports.open()).toBe(0);
  return { wasi, giver: outer.exports, worker: inner.exports };
}

describe('fd_give', () => {
  test('hands a narrowed copy of a descriptor to a linked program with a table of its own', async () => {
    const { wasi, giver, worker } = await pair();
    wasi.giver.linkDescriptors('worker', wasi.worker);
    const [errno, given] = giver.give(FD_READ);
    // The giver's 3 is its directory; in the worker's table it was free.
    expect([errno, given]).toEqual([0, 3]);
    expect(giver.run(given)).toEqual([0, 18, ENOTCAPABLE]);
    expect(Buffer.from(worker.memory.buffer, 200, 18).toString()).toBe('what the file says');
    expect(worker.open_at(given)).not.toBe(0);
    expect(worker.close(given)).toBe(0);
    expect(worker.read(given)[0]).toBe(EBADF);
    // The giver's descriptor is open still, and may give what it has.
    const [, another] = giver.give(FD_READ_WRITE);
    expect(giver.run(another)).toEqual([0, 0, 0]);
  });

  test('knows nobody until link() says so, and in that direction alone', async () => {
    const { wasi, giver } = await pair();
    expect(giver.give(FD_READ)[0]).toBe(ENOENT);
    wasi.worker.linkDescriptors('worker', wasi.giver);
    expect(giver.give(FD_READ)[0]).toBe(ENOENT);
    wasi.giver.linkDescriptors('other', wasi.worker);
    expect(giver.give(FD_READ)[0]).toBe(ENOENT);
    wasi.giver.linkDescriptors('worker', wasi.worker);
    expect(giver.give(FD_READ)[0]).toBe(0);
  });

  test("works over the host's directories and within the other program's limit", async () => {
    fs.writeFileSync(path.join(directory, 'file'), 'on the disk');
    const giver = { preopens: { '/': { path: directory, mode: 'ro' } } };
    const { wasi, giver: refused } = await pair({
      worker: { limits: { descriptors: 3 } },
    });
    wasi.giver.linkDescriptors('worker', wasi.worker);
    expect(refused.give(FD_READ)[0]).toBe(EMFILE);
    // It opens for reading and writing, which a read-only directory refuses: nothing to give.
    await expect(pair({ giver })).rejects.toThrow();
    const over = await pair({ giver: { preopens: { '/': directory } } });
    over.wasi.giver.linkDescriptors('worker', over.wasi.worker);
    expect(over.giver.run(over.giver.give(FD_READ)[1])).toEqual([0, 11, ENOTCAPABLE]);
  });

  test('is refused where it is not granted, whoever is linked', async () => {
    const failure = pair({ giver: { allow: ['*'] } });
    await expect(failure).rejects.toMatchObject({
      code: 'ERR_WASI_LINK',
      message: expect.stringMatching(/wasi_native_ext\.fd_give/),
    });
  });

  test('link() checks its arguments', () => {
    const wasi = new wn.WASI({ version: 'preview1' });
    expect(thrownBy(() => wasi.linkDescriptors(5, wasi)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrownBy(() => wasi.linkDescriptors('other', {}))).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(/"other" argument must be an instance of WASI/),
    });
    expect(thrownBy(() => wasi.linkDescriptors('other')).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(wasi.linkDescriptors('itself', wasi)).toBe(undefined);
  });
});
